//! The table of docs/api.md names what there is: each name is listed here too, in a call that the compiler checks.

use std::collections::BTreeSet;

use mosaic_comms::{
    CommsManager, Config, HandlerError, Message, Methods, Notify, ObjectRef, Place, Protocol, ReplyId,
    Topology, Uid,
};

const PAGE: &str = include_str!("../../../docs/api.md");

/// The members of the reference page, the class itself not counted.
const MEMBERS: [&str; 39] = [
    "address",
    "beat",
    "call",
    "call_safe",
    "cmd",
    "cmd_async",
    "cmd_recv",
    "cmd_recv_async",
    "connect",
    "connect_recv",
    "connect_send",
    "connected",
    "disconnect",
    "disconnect_recv",
    "disconnect_send",
    "hand",
    "handshake",
    "heart",
    "listen",
    "listen_async",
    "logger",
    "port",
    "process_msg",
    "recv",
    "recv_async",
    "register_reply_future",
    "reply",
    "send",
    "send_async",
    "send_exception",
    "send_recv",
    "send_recv_async",
    "shake",
    "shaken",
    "stop",
    "uid_address",
    "uid_port",
    "wait",
    "wait_for",
];

/// What is called exists; none of it is ever run.
fn exists<T>(_: T) {}

/// Makes a function that calls each of these methods, and gives their names.
macro_rules! methods {
    ($names:ident($($given:ident: $type:ty),*): $on:ident; $($name:ident $(::<$result:ty>)? ($($arg:expr),*)),* $(,)?) => {
        fn $names() -> Vec<&'static str> {
            let calls = |$($given: $type),*| {
                $(exists($on.$name$(::<$result>)?($($arg),*));)*
            };
            exists(calls);
            vec![$(stringify!($name)),*]
        }
    };
}

methods! { of_manager(comms: &CommsManager, object: fn() -> ObjectRef, message: Message): comms;
    address(), port(), span(), connect_recv(), connect_send("", "", 0), connected(""), shaken(""), uid_address(""),
    uid_port(""), handshake("", "", 0), wait_for(""), listen(), listen_async(), recv(), blocking_recv(), send("", "", ()),
    blocking_send("", "", ()), send_recv::<()>("", "", ()), blocking_send_recv::<()>("", "", ()),
    cmd("", object(), "", ()), blocking_cmd("", object(), "", ()), cmd_recv::<()>("", object(), "", ()),
    blocking_cmd_recv::<()>("", object(), "", ()), disconnect(""), disconnect_recv(), disconnect_send(), wait(), stop(),
    ping(""), process_msg(message),
}

methods! { of_protocol(
    protocol: &Protocol, uid: &Uid, id: ReplyId, place: Place, network: &Topology, message: Message
): protocol;
    connect(uid, uid, place, Notify::Nobody), disconnect(uid, uid, Notify::Nobody), hand(uid, "", 0), shake(uid, network),
    stop(uid), call::<()>(uid, "", ()), call_safe(uid, "", ()), process_msg(uid, message),
    send_exception(uid, async { Ok::<(), HandlerError>(()) }), heart(uid), beat(uid),
    reply(uid, id, Ok::<(), HandlerError>(())), register_reply_future::<()>(uid),
}

/// Those that make a manager.
fn makers() -> [&'static str; 2] {
    exists(|| CommsManager::new("", Methods::new(), Config::default()));
    exists(|| CommsManager::start("", Methods::new(), Config::default()));
    ["new", "start"]
}

/// The rows of the table: the member of the reference page, the Rust names, the Python name.
fn rows() -> Vec<(&'static str, &'static str, &'static str)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{row}");
        (cells[1].trim_matches('`'), cells[2], cells[3].trim_matches('`'))
    })
    .collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_name_of_the_table_exists() {
    let mut there: BTreeSet<String> = of_protocol().iter().map(|name| format!("protocol().{name}")).collect();
    there.extend(of_manager().into_iter().chain(makers()).map(str::to_owned));
    for (member, names, python) in rows() {
        assert!(quoted(names).next().is_some(), "`{member}` has no name");
        assert_eq!(member, python, "Python has the names of the page");
        for name in quoted(names) {
            assert!(there.contains(name), "`{name}`, for `{member}`, is not among the names that exist");
        }
    }
}

#[test]
fn every_member_has_one_row() {
    let members: Vec<&str> = rows().into_iter().map(|(member, ..)| member).collect();
    assert_eq!(members[0], "CommsManager(..)");
    assert_eq!(members[1..], MEMBERS);
}
