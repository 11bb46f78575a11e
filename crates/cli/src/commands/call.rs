//! `mosaic call`: calls a method as another runtime would, with arguments out of the command line and of files.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use mosaic_comms::{AnyArray, Kwargs, ObjectRef, Value};
use serde_json::{Value as Json, json};

use crate::network::Where;
use crate::{npy, seconds};

/// Elements of an array that are printed at most; `--out` keeps more.
const SHOWN: usize = 64;

/// Who is called.
#[derive(Debug, Args)]
pub(crate) struct Callee {
    /// Whom, as in `worker:0`
    pub(crate) uid: String,
    /// The object in it that is meant, as in `Solver/1`; else the runtime itself
    #[arg(long, value_name = "TYPE/UID", value_parser = object)]
    pub(crate) object: Option<ObjectRef>,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    #[command(flatten)]
    callee: Callee,
    /// The method, as `mosaic methods` names it
    method: String,
    /// Arguments: JSON, or an array out of a file of numpy's, as in factor=2 name='"a"' field=@field.npy
    #[arg(value_name = "NAME=VALUE", value_parser = argument)]
    arguments: Vec<(String, Value)>,
    /// The file to write the result to, which must be an array
    #[arg(long, value_name = "FILE.npy")]
    out: Option<PathBuf>,
    /// How long to wait for the result; else as long as the runtime lives
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    deadline: Option<Duration>,
}

impl Call {
    pub(crate) fn run(self, place: &Where) -> Result<(), Box<dyn Error>> {
        place.join(|comms| async move {
            let Call { callee: Callee { uid, object }, method, arguments, out, deadline } = self;
            let with = |kwargs: Kwargs, (name, value): (String, Value)| kwargs.with(&name, value);
            let kwargs = arguments.into_iter().fold(Kwargs::new(), with);
            let mut call = match object {
                Some(object) => comms.cmd_recv::<Value>(&uid, object, method, kwargs),
                None => comms.send_recv(&uid, method, kwargs),
            };
            if let Some(deadline) = deadline {
                call = call.deadline(deadline);
            }
            let result = call.await?;
            match (out, result) {
                (Some(path), Value::Array(array)) => save(&path, &array),
                (Some(_), other) => Err(format!("the result is no array, but {}", shown(&other)?).into()),
                (None, result) => print(&result),
            }
        })
    }
}

fn object(text: &str) -> Result<ObjectRef, String> {
    match text.split_once('/') {
        Some((kind, uid)) if !kind.is_empty() && !uid.is_empty() => Ok(ObjectRef::new(kind, uid)),
        _ => Err("it is not TYPE/UID, as in Solver/1".to_owned()),
    }
}

fn argument(text: &str) -> Result<(String, Value), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => (name, value),
        _ => return Err("it is not NAME=VALUE, as in factor=2".to_owned()),
    };
    let value = match value.strip_prefix('@') {
        Some(path) => {
            let array = npy::read(Path::new(path)).map_err(|error| format!("{path}: {error}"))?;
            Value::Array(array)
        }
        None => serde_json::from_str(value).map_err(|error| {
            format!("the value is not JSON ({error}); text is in quotes, as in {name}='\"text\"'")
        })?,
    };
    Ok((name.to_owned(), value))
}

fn save(path: &Path, array: &AnyArray) -> Result<(), Box<dyn Error>> {
    npy::write(path, array).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Prints a result as JSON, which is laid out for people on a terminal.
fn print(result: &Value) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let text = if out.is_terminal() { format!("{:#}", json(result)?) } else { shown(result)? };
    Ok(writeln!(out, "{text}")?)
}

fn shown(result: &Value) -> Result<String, Box<dyn Error>> {
    Ok(json(result)?.to_string())
}

/// A result as JSON, in which an array has its values unless they are many.
fn json(value: &Value) -> Result<Json, Box<dyn Error>> {
    Ok(match value {
        Value::Array(array) if array.shape().iter().product::<usize>() > SHOWN => json!({
            "dtype": array.dtype().name(), "shape": array.shape(), "order": array.order().name(),
        }),
        Value::List(values) => Json::Array(values.iter().map(json).collect::<Result<_, _>>()?),
        Value::Map(entries) => Json::Object(entries.iter().map(entry).collect::<Result<_, _>>()?),
        other => serde_json::to_value(other)?,
    })
}

/// An entry of a map. JSON has text as keys only.
fn entry((key, value): &(Value, Value)) -> Result<(String, Json), Box<dyn Error>> {
    let key = match key {
        Value::Text(text) => text.clone(),
        other => json(other)?.to_string(),
    };
    Ok((key, json(value)?))
}
