//! The settings of a manager, as keywords.

use std::path::PathBuf;
use std::time::Duration;

use mosaic_comms::{Config, Context, Refusals, Security, UnixSockets};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::setting_error;

/// The configuration that the environment and these keywords give. Those that are `None` are left alone.
pub(crate) fn config(settings: &Bound<'_, PyDict>, context: &Context) -> PyResult<Config> {
    let mut config = Config::from_env().map_err(|error| setting_error(&error))?;
    config = config.executor(context.io_executor()).context(context.clone());
    for (name, value) in settings.iter().filter(|(_, value)| !value.is_none()) {
        config = set(config, name.extract()?, &value)?;
    }
    Ok(config)
}

fn set(config: Config, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Config> {
    Ok(match name {
        "address" => config.address(value.extract::<String>()?),
        "port" => config.port(value.extract()?),
        "interface" => config.interface(value.extract::<String>()?),
        "monitor" => {
            let (host, port) = value.extract::<(String, u16)>()?;
            config.monitor(host, port)
        }
        "security" => config.security(security(value.extract()?)?),
        "unix_sockets" => config.unix_sockets(match value.extract()? {
            true => UnixSockets::Use,
            false => UnixSockets::Avoid,
        }),
        "refusals_prove_death" => config.refusals(match value.extract()? {
            true => Refusals::ProveDeath,
            false => Refusals::ProveNothing,
        }),
        "key_file" => config.key_file(value.extract::<PathBuf>()?),
        "accept_stop_from" => config.accept_stop_from(value.extract::<Vec<String>>()?),
        "dead_after" => config.dead_after(seconds(value)?),
        "handshake_within" => config.handshake_within(seconds(value)?),
        "drain_within" => config.drain_within(seconds(value)?),
        "running_handlers" => config.running_handlers(value.extract()?),
        _ => return Err(PyTypeError::new_err(format!("there is no setting `{name}`"))),
    })
}

/// Who may connect, by its name.
pub(crate) fn security(name: &str) -> PyResult<Security> {
    match name {
        "secure" => Ok(Security::Secure),
        "insecure" => Ok(Security::Insecure),
        _ => Err(PyValueError::new_err(format!("security is `secure` or `insecure`, not `{name}`"))),
    }
}

/// A time in seconds.
pub(crate) fn seconds(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value.extract()?).map_err(|error| setting_error(&error))
}
