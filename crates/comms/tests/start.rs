//! Construction, addresses, and what a start that fails says.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::io::Write;
use std::time::{Duration, Instant};

use mosaic_comms::{
    BindError, CommsManager, Config, ConfigError, ConnectError, Context, Methods, Security, StartError, Uid,
    UnixSockets,
};
use mosaic_proto::Session;
use mosaic_proto::wire::{Command, Lane, Ready};
use mosaic_testkit::{Transport, greeted, network, read_to_end, stranger};

fn own_context() -> Config {
    Config::default().context(Context::builder().build().unwrap())
}

/// The error and its sources, as a program would print them.
fn told(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", told(source)));
    format!("{error}{}", source.unwrap_or_default())
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = own_context().address("127.0.0.1").port(port);
    let error = CommsManager::start("head", Methods::new(), config).await.unwrap_err();
    assert!(matches!(error, StartError::Bind(BindError::Bind { .. })), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(told(&error).contains("in use"), "{}", told(&error));
}

#[tokio::test]
async fn a_port_that_another_runtime_of_the_process_has_is_in_use() {
    let context = Context::builder().build().unwrap();
    let config = Config::default().context(context).address("127.0.0.1");
    let first = CommsManager::start("one", Methods::new(), config.clone()).await.unwrap();
    let error = CommsManager::start("two", Methods::new(), config.port(first.port())).await.unwrap_err();
    assert!(told(&error).contains("in use"), "{}", told(&error));
    first.stop().await;
}

#[tokio::test]
async fn a_host_without_address_cannot_be_bound() {
    let config = own_context().address("no-such-host.invalid");
    let error = CommsManager::start("head", Methods::new(), config).await.unwrap_err();
    assert!(matches!(error, StartError::Bind(BindError::Bind { .. })), "{error:?}");
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

#[tokio::test]
async fn an_interface_that_does_not_exist_is_told_with_those_that_do() {
    let config = own_context().interface("no-such-interface0");
    let error = CommsManager::start("head", Methods::new(), config).await.unwrap_err();
    let told = told(&error);
    assert!(told.contains("no-such-interface0") && told.contains("lo"), "{told}");
}

#[tokio::test]
async fn an_invalid_uid_is_refused_before_anything_starts() {
    for uid in ["", "a b", "worker::"] {
        let error = CommsManager::new(uid, Methods::new(), own_context()).unwrap_err();
        assert!(matches!(error, StartError::InvalidUid(_)), "{uid:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_monitor_that_is_not_there_is_told_with_every_address_in_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    for security in [Security::Secure, Security::Insecure] {
        let config = own_context()
            .address("127.0.0.1")
            .security(security)
            .handshake_within(Duration::from_millis(400))
            .monitor("127.0.0.1", port);
        let begun = Instant::now();
        let error = CommsManager::start("head", Methods::new(), config).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let StartError::Handshake(ConnectError::Unreachable { attempts, within, .. }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*within, Duration::from_millis(400));
        let tried: Vec<_> = attempts.iter().map(|attempt| attempt.address.as_str()).collect();
        assert!(tried.iter().any(|address| address.ends_with(&format!("{port}.sock"))), "{tried:?}");
        assert!(tried.contains(&format!("127.0.0.1:{port}").as_str()), "{tried:?}");
        assert!(
            told(&error).contains("refused") || told(&error).contains("No such file"),
            "{}",
            told(&error)
        );
    }
}

#[tokio::test]
async fn a_monitor_that_takes_connections_and_says_nothing_is_told_with_its_address() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = over_clear_tcp_to(silent.local_addr().unwrap().port()).await;
    let address = silent.local_addr().unwrap();
    assert_eq!(told(&error), format!("monitor could not be reached within 0.4 s: {address}: no answer yet"));
}

#[tokio::test]
async fn a_monitor_that_is_connected_and_does_not_shake_hands_is_told_as_that() {
    let idle = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = idle.local_addr().unwrap().port();
    let ready = Ready {
        uid: Some(Uid::new("monitor").unwrap()),
        mosaic: None,
        ..stranger(Lane::Control, Session::NONE)
    };
    let idling = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = idle.accept().unwrap();
        stream.write_all(&greeted(&Command::Ready(ready))).unwrap();
        stream
    });
    let error = over_clear_tcp_to(port).await;
    assert_eq!(told(&error), "monitor is connected and did not shake hands within 0.4 s");
    read_to_end(idling.await.unwrap()).await;
}

/// What comes of starting with a monitor at this port.
async fn over_clear_tcp_to(port: u16) -> ConnectError {
    let config = own_context().address("127.0.0.1").security(Security::Insecure);
    let config = config.unix_sockets(UnixSockets::Avoid).handshake_within(Duration::from_millis(400));
    let started = CommsManager::start("head", Methods::new(), config.monitor("127.0.0.1", port)).await;
    let StartError::Handshake(error) = started.unwrap_err() else { panic!("it could be bound") };
    error
}

#[tokio::test]
async fn a_monitor_that_comes_late_is_found_in_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let joining = own_context().address("127.0.0.1").monitor("127.0.0.1", port);
    let joiner = CommsManager::new("head", Methods::new(), joining).unwrap();
    joiner.connect_recv().await.unwrap();
    let handshake = joiner.handshake("monitor", "127.0.0.1", port);
    let come = async {
        // Several dials have failed by then.
        tokio::time::timeout(Duration::from_millis(400), std::future::pending::<()>()).await.unwrap_err();
        let config = own_context().address("127.0.0.1").port(port);
        CommsManager::start("monitor", Methods::new(), config).await.unwrap()
    };
    let (shaken, monitor) = tokio::join!(handshake, come);
    shaken.unwrap();
    joiner.stop().await;
    monitor.stop().await;
}

#[tokio::test]
async fn an_unresolvable_monitor_is_named() {
    let config = own_context()
        .address("127.0.0.1")
        .handshake_within(Duration::from_millis(300))
        .monitor("no-such-host.invalid", 9);
    let error = CommsManager::start("head", Methods::new(), config).await.unwrap_err();
    assert!(told(&error).contains("no-such-host.invalid:9"), "{}", told(&error));
}

#[tokio::test]
async fn the_address_is_one_that_others_can_reach() {
    for (bound, v6) in [(None, false), (Some("0.0.0.0"), false), (Some("::"), true)] {
        let config = bound.map_or_else(own_context, |address| own_context().address(address));
        let comms = CommsManager::start("head", Methods::new(), config).await.unwrap();
        let address: std::net::IpAddr = comms.address().parse().unwrap();
        assert!(!address.is_unspecified(), "{address}");
        assert!(bound.is_none() || address.is_ipv6() == v6, "{address}");
        assert_ne!(comms.port(), 0);
        assert_eq!(comms.uid_address("head").unwrap(), comms.address());
        assert_eq!(comms.uid_port("head").unwrap(), comms.port());
        comms.stop().await;
    }
}

#[tokio::test]
async fn a_runtime_that_binds_every_address_is_reached_at_the_one_it_tells() {
    let everywhere = || own_context().address("0.0.0.0");
    let monitor = CommsManager::start("monitor", Methods::new(), everywhere()).await.unwrap();
    let config = everywhere().monitor(monitor.address(), monitor.port());
    let head = CommsManager::start("head", Methods::new(), config).await.unwrap();
    head.stop().await;
    monitor.stop().await;
}

#[tokio::test]
async fn the_inbound_connection_is_bound_once() {
    let config = own_context().address("localhost");
    let comms = CommsManager::new("head", Methods::new(), config).unwrap();
    assert_eq!((comms.address().as_str(), comms.port()), ("", 0));
    let (one, other) = tokio::join!(comms.connect_recv(), comms.connect_recv());
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert!(matches!(comms.connect_recv().await, Err(BindError::State { .. })));
    comms.stop().await;
    assert!(matches!(comms.connect_recv().await, Err(BindError::State { .. })));
}

#[tokio::test]
async fn connecting_before_binding_is_an_error() {
    let comms = CommsManager::new("head", Methods::new(), own_context()).unwrap();
    let error = comms.connect_send("other", "127.0.0.1", 9).await.unwrap_err();
    assert!(matches!(error, ConnectError::State { .. }), "{error:?}");
    let error = comms.handshake("monitor", "127.0.0.1", 9).await.unwrap_err();
    assert!(matches!(error, ConnectError::State { .. }), "{error:?}");
    comms.connect_send("head", "127.0.0.1", 9).await.unwrap();
    comms.stop().await;
}

#[tokio::test]
async fn another_runtime_at_the_address_is_told() {
    let net = network(Transport::Unix, 1).await;
    let config = own_context().address("127.0.0.1").handshake_within(Duration::from_millis(400));
    let lost = CommsManager::start("lost", Methods::new(), config).await.unwrap();
    let (worker, _) = &net.workers[0];
    let error = lost.connect_send("worker:9", &worker.address(), worker.port()).await.unwrap_err();
    assert!(told(&error).contains("worker:0"), "{}", told(&error));
    lost.stop().await;
    net.stop().await;
}

const CHILD: &str = "MOSAIC_TEST_FROM_ENV";

/// What `Config::from_env` says in a process with these variables.
fn from_env(variables: &[(&str, &str)]) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_environment_is_read_in_a_child", "--nocapture"])
        .env_remove("MOSAIC_MONITOR_HOST")
        .env_remove("MOSAIC_MONITOR_PORT")
        .env(CHILD, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_environment_is_read_in_a_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let told = match Config::from_env() {
        Ok(_) => "fine".to_owned(),
        Err(error @ (ConfigError::Port { .. } | ConfigError::HalfMonitor { .. })) => error.to_string(),
        Err(other) => panic!("{other}"),
    };
    std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes()).unwrap();
}

#[test]
fn a_wrong_environment_is_told_by_the_variable() {
    let (host, port) = ("MOSAIC_MONITOR_HOST", "MOSAIC_MONITOR_PORT");
    for wrong in ["http", "0", "65536", "-1"] {
        let told = from_env(&[(host, "node7"), (port, wrong)]);
        assert!(told.contains(&format!("MOSAIC_MONITOR_PORT is `{wrong}`")), "{told}");
    }
    let told = from_env(&[(host, "node7")]);
    assert!(told.contains("MOSAIC_MONITOR_HOST is set and MOSAIC_MONITOR_PORT is not"), "{told}");
    let told = from_env(&[(port, "3000")]);
    assert!(told.contains("MOSAIC_MONITOR_PORT is set and MOSAIC_MONITOR_HOST is not"), "{told}");
    assert!(from_env(&[(host, "node7"), (port, "3000")]).contains("fine"));
    assert!(from_env(&[(host, ""), (port, "")]).contains("fine"));
}
