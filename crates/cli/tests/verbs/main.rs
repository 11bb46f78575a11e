//! Every verb of the command, as a process of its own, in a network of real processes.
#![allow(clippy::unwrap_used, reason = "a test whose helpers fail has failed")]

mod calls;
mod doctor;
mod home;
mod scrape;

use home::{Home, Running, assert_told};

#[test]
fn a_network_is_listed_pinged_followed_and_stopped() {
    let home = Home::new();
    let (monitor, place) = home.monitor();
    let mut events = home.start(&["events", "--monitor", &place]);
    assert_eq!(events.line(), "there\tmonitor");

    let (code, listed, _) = home.run(&["ls", "--monitor", &place]);
    let uids: Vec<_> = listed.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!((code, uids.len(), uids.contains(&"monitor")), (0, 2, true), "{listed}");
    assert!(uids.iter().any(|uid| uid.starts_with("mosaic:")), "{listed}");

    let (code, listed, _) = home.run(&["ls", "--json", "monitor", "--monitor", &place]);
    let row: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((code, row["uid"].as_str(), row["address"].as_str()), (0, Some("monitor"), Some("127.0.0.1")));
    assert_eq!((&row["state"], &row["status"]["uid"]), (&"up".into(), &"monitor".into()));
    assert!(
        row["round_trip"].as_f64().unwrap() > 0.0 && row["status"]["counters"]["received"].as_u64() > Some(0)
    );

    assert_told!("ls", home.told(&["ls", "monitor", "--monitor", &place]));
    let mut watched = home.start(&["ls", "--watch", "monitor", "--monitor", &place]);
    let lists: Vec<_> = (0..4).map(|_| watched.line()).collect();
    assert!(lists[0].is_empty() && lists[2].is_empty(), "{lists:?}");
    assert!(lists[1].starts_with("monitor\t") && lists[3].starts_with("monitor\t"), "{lists:?}");
    assert_eq!(watched.end().0, 0);

    let (code, pinged, _) = home.run(&["ping", "monitor", "--count", "2", "--monitor", &place]);
    assert_eq!((code, pinged.lines().count()), (0, 2), "{pinged}");
    assert!(
        pinged.lines().all(|line| line.starts_with("monitor: ") && line.contains(" us, lag ")),
        "{pinged}"
    );

    let (code, _, error) = home.run(&["ping", "monitr", "--monitor", &place]);
    assert_eq!(code, 1);
    assert!(error.contains("there is no runtime `monitr`") && error.contains("`monitor`"), "{error}");

    // Whoever comes and goes within milliseconds may be passed over; another follower stays until it was told.
    let other = home.start(&["events", "--monitor", &place]);
    let uid = format!("mosaic:{}", other.child.id());
    let told = |events: &mut Running, what: &str| {
        let wanted = format!("{what}\t{uid}\t");
        events.lines.by_ref().map(Result::unwrap).any(|line| line.starts_with(&wanted))
    };
    assert!(told(&mut events, "joined"));
    assert_eq!(other.end().0, 0);
    assert!(told(&mut events, "gone"));

    assert_eq!(home.run(&["stop", "monitor", "--monitor", &place]).0, 0);
    let mut monitor = monitor;
    assert_eq!(monitor.child.wait().unwrap().code(), Some(0));
    let last: Vec<_> = events.lines.by_ref().map(Result::unwrap).collect();
    assert!(last.iter().any(|line| line.starts_with("gone\tmonitor")), "{last:?}");
    assert_eq!(events.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_monitor_and_its_follower_end_in_good_order_when_they_are_told_to() {
    let home = Home::new();
    let (monitor, place) = home.monitor();
    let port = place.rsplit_once(':').unwrap().1.to_owned();
    let key = home.path().join(format!(".mosaic/127.0.0.1-{port}.key"));
    assert!(key.exists(), "the monitor makes the job's credential");
    let mut events = home.start(&["events", "--json", "--monitor", &place]);
    assert_eq!(events.line(), r#"{"detail":"","event":"there","uid":"monitor"}"#);
    assert_eq!(events.end().0, 0);
    assert_eq!(monitor.end().0, 0);
    assert!(!home.path().join(format!("mosaic/{port}.sock")).exists());
    assert!(!key.exists(), "nobody can come back to a port that was drawn");
}

#[test]
fn a_credential_is_made_once_and_shown_by_its_fingerprint() {
    let home = Home::new();
    let file = home.path().join("job.key");
    let name = file.to_str().unwrap();
    let (code, made, _) = home.run(&["keygen", name]);
    let (path, fingerprint) = made.trim_end().split_once('\t').unwrap();
    assert_eq!((code, path, fingerprint.len()), (0, name, 64));
    let (code, shown, _) = home.run(&["key", "show", name]);
    assert_eq!((code, &shown), (0, &made));
    assert_eq!(home.run(&["key", "show", "--key-file", name]).1, made);
    let (code, _, error) = home.run(&["keygen", name]);
    assert_eq!(code, 1);
    assert!(error.contains("exists already"), "{error}");
    let secret = std::fs::read_to_string(&file).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(!made.contains(&secret) && !error.contains(&secret));
    let (code, _, error) = home.run(&["key", "show", "--monitor", "10.0.0.1:3000"]);
    assert_eq!(code, 1);
    assert!(error.contains(".mosaic/10.0.0.1-3000.key"), "{error}");
}

#[test]
fn a_command_line_that_is_wrong_says_what_would_be_right() {
    let home = Home::new();
    for (name, arguments) in [
        ("no_monitor_named", &["ls"][..]),
        ("no_place", &["ls", "--monitor", "here"]),
        ("no_port", &["ls", "--monitor", "here:0"]),
        ("no_monitor_there", &["ls", "--monitor", "127.0.0.1:1"]),
        ("no_such_verb", &["frobnicate"]),
        ("no_verb", &[]),
        ("no_number", &["ping", "worker:0", "--count", "many"]),
        ("no_such_shell", &["completions", "tcl"]),
        ("no_key_to_show", &["key", "show"]),
    ] {
        assert_told!(name, home.told(arguments));
    }
}

#[test]
fn help_is_a_snapshot_of_every_verb() {
    let home = Home::new();
    assert_told!("help", home.told(&["--help"]));
    for verb in [
        "monitor",
        "ls",
        "ping",
        "methods",
        "call",
        "events",
        "stop",
        "keygen",
        "key",
        "doctor",
        "completions",
        "man",
    ] {
        assert_told!(format!("help_{verb}"), home.told(&[verb, "--help"]));
    }
}

#[test]
fn completions_and_the_manual_name_every_verb() {
    let home = Home::new();
    let verbs = ["monitor", "ls", "ping", "methods", "call", "events", "stop", "keygen", "key", "doctor"];
    for arguments in [&["completions", "bash"][..], &["man"]] {
        let (code, text, _) = home.run(arguments);
        assert_eq!(code, 0);
        assert!(verbs.iter().all(|verb| text.contains(verb)), "{arguments:?}: {text}");
    }
}
