//! What a failed call says of itself: whom it was made to, whether it has run, whether it may be made again.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::time::Duration;

use mosaic_comms::{CallError, Execution, IntoArgs, Kwargs, Reason, RemoteError, Uid, decode_value};

use Execution::{MayHaveRun, NotRun, Ran};

fn peer() -> Uid {
    Uid::new("worker:0").unwrap()
}

fn remote(ran: bool) -> CallError {
    let mut error = RemoteError::new("flood", "water in the cellar");
    (error.ran, error.uid, error.method) = (ran, "worker:0".to_owned(), "store".to_owned());
    CallError::Remote(Box::new(error))
}

/// What an error says of the execution, whether the call may be made again, whom it names, and what it reads.
type Said = (CallError, Execution, bool, Option<&'static str>, &'static str);

const AT: Option<&str> = Some("worker:0");

/// Errors after which the request may have run, or not.
fn ended() -> Vec<Said> {
    let gone = |execution| CallError::Disconnected {
        peer: peer(),
        reason: Reason::Left { why: "stopped".to_owned() },
        execution,
    };
    let late = |execution| CallError::Timeout { peer: peer(), after: Duration::from_millis(1500), execution };
    let cancelled = CallError::Cancelled { peer: peer(), execution: MayHaveRun };
    let stopped = CallError::Stopped { execution: NotRun };
    vec![
        (remote(true), Ran, false, AT, "water in the cellar (flood in `store` of worker:0)"),
        (remote(false), NotRun, false, AT, "water in the cellar (flood in `store` of worker:0)"),
        (gone(NotRun), NotRun, true, AT, "disconnected: it left: stopped (the request was not run)"),
        (gone(MayHaveRun), MayHaveRun, false, AT, "it left: stopped (the request may have run)"),
        (late(NotRun), NotRun, true, AT, "did not reply within 1.500 s (the request was not run)"),
        (late(MayHaveRun), MayHaveRun, false, AT, "within 1.500 s (the request may have run)"),
        (cancelled, MayHaveRun, false, AT, "the call to worker:0 was cancelled (the request may have run)"),
        (stopped, NotRun, true, None, "this runtime has stopped (the request was not run)"),
    ]
}

/// Errors of which it is certain.
fn certain() -> Vec<Said> {
    let unknown = CallError::UnknownPeer { uid: "worker:O".to_owned(), similar: vec![peer()] };
    let twice = Kwargs::new().with("a", 1).with("a", 2).into_args().unwrap_err();
    let cause = decode_value::<f64>(&[0xa1, b'x'], Vec::new()).unwrap_err();
    let decode = CallError::Decode { peer: peer(), method: "sum".to_owned(), cause };
    let large = CallError::TooLarge { peer: peer(), size: 9, limit: 8 };
    let busy = CallError::Overloaded { peer: peer() };
    vec![
        (busy, NotRun, true, AT, "worker:0 is overloaded: the request was not run"),
        (unknown, NotRun, true, Some("worker:O"), "no runtime `worker:O`, did you mean `worker:0`?"),
        (Uid::new("a b").unwrap_err().into(), NotRun, false, None, "uid"),
        (twice.into(), NotRun, false, None, "`a`"),
        (decode, Ran, false, AT, "the result of `sum` of worker:0 is not what was asked for"),
        (large, NotRun, false, AT, "9 bytes is too large for worker:0, which takes 8 at most"),
    ]
}

#[test]
fn every_error_says_who_whether_it_ran_and_whether_it_may_be_made_again() {
    for (error, execution, again, at, said) in ended().into_iter().chain(certain()) {
        assert_eq!(error.execution(), execution, "{error}");
        assert_eq!(error.is_safe_to_retry(), again, "{error}");
        assert_eq!(error.peer(), at, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}
