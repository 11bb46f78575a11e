//! What the doctor finds on a host, and what flight recorders have kept.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::home::{Home, assert_told};

/// The finding of a check, and whether it is good.
fn finding<'a>(found: &'a str, check: &str) -> (&'a str, &'a str) {
    let line = found.lines().find(|line| line.split('\t').nth(1) == Some(check)).unwrap();
    let (mark, rest) = line.split_once('\t').unwrap();
    (mark, rest.split_once('\t').unwrap().1)
}

#[test]
fn the_doctor_finds_nothing_wrong_where_all_is_well() {
    let home = Home::new();
    let (monitor, place) = home.monitor();
    let (code, found, error) = home.run(&["doctor", "--monitor", &place]);
    assert_eq!(code, 0, "{found}{error}");
    let checks: Vec<_> =
        found.lines().map(|line| line.split('\t').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        checks,
        ["ok monitor", "ok interfaces", "ok address", "ok socket", "ok credential", "ok port", "ok reached"]
    );
    assert!(finding(&found, "interfaces").1.contains("lo 127.0.0.1"), "{found}");
    monitor.end();
}

#[test]
fn the_doctor_says_what_is_missing_and_what_to_do() {
    let home = Home::new();
    let (code, found, _) = home.run(&["doctor"]);
    assert_eq!(code, 1);
    assert!(found.contains("no\tmonitor\tnothing says where the monitor is: give --monitor"), "{found}");
    assert!(found.contains("no\tport\twhich one is not known: see `monitor`"), "{found}");

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, found, _) = home.run(&["doctor", "--monitor", &format!("127.0.0.1:{port}")]);
    assert_eq!(code, 1);
    let wanted = format!("127.0.0.1:{port} refuses: nobody listens there; does the monitor run?");
    assert_eq!(finding(&found, "port"), ("no", &*wanted));
    assert!(finding(&found, "credential").1.contains("copy the monitor's key file there"), "{found}");

    let (_, found, _) = home.run(&["doctor", "--monitor", "nowhere.invalid:3000"]);
    let (mark, text) = finding(&found, "port");
    assert!(mark == "no" && text.starts_with("nowhere.invalid has no address"), "{found}");
}

#[test]
fn the_doctor_says_why_no_socket_can_be_made_and_which_interface_there_is_not() {
    let home = Home::new();
    let folder = home.path().join("mosaic");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let (_, found, _) = home.run(&["doctor"]);
    let (mark, text) = finding(&found, "socket");
    assert!(mark == "no" && text.ends_with("others may enter it (mode 777): chmod 700 it"), "{found}");

    let output = home.command(&["doctor"]).env("MOSAIC_INTERFACE", "ib7").output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    let (mark, text) = finding(&found, "address");
    assert!(mark == "no" && text.contains("there is no interface `ib7` with an address, only "), "{found}");
}

#[test]
fn the_doctor_tells_what_flight_recorders_have_kept() {
    let home = Home::new();
    let (monitor, place) = home.monitor();
    let mut follower = home.start(&["events", "--monitor", &place]);
    follower.line();
    let uid = format!("mosaic:{}", follower.child.id());
    let (code, told, _) = home.run(&["doctor", &uid, "--monitor", &place]);
    assert_eq!(code, 0);
    assert!(told.contains(&format!("monitor: link to {uid}, up:")), "{told}");
    assert!(told.contains(&format!("{uid}: link to monitor, up:")), "{told}");
    assert!(told.contains("control lane connected by unix"), "{told}");

    let mut witness = home.start(&["events", "--monitor", &place]);
    witness.line();
    follower.child.kill().unwrap();
    let gone = format!("gone\t{uid}\t");
    assert!(witness.lines.by_ref().map(Result::unwrap).any(|line| line.starts_with(&gone)));
    let (code, told, _) = home.run(&["doctor", &uid, "--monitor", &place]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains(&format!("monitor: link to {uid}, ended:")), "{told}");
    assert!(told.contains("  dead: "), "{told}");
    assert!(told.contains(&format!("{uid} itself says nothing: ")), "{told}");
    assert_told!("doctor_of_nobody", home.told(&["doctor", "nobody", "--monitor", &place]));
    monitor.end();
}
