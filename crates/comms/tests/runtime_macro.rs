//! Runtimes and proxies made by the attribute: order, concurrency, defaults, errors, hooks, typed from end to end.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::fmt;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use mosaic_comms::{
    Array, Call, CallError, CommsManager, Context, Execution, HandlerError, IntoRuntime, Methods, Reason,
    RemoteError, Runtime, Uid, kwargs,
};
use mosaic_testkit::{Transport, config};
use parking_lot::Mutex;
use tokio::sync::{Barrier, Notify, Semaphore};

/// A monitor that calls, and a worker that serves.
struct Pair {
    caller: CommsManager,
    worker: CommsManager,
    transport: Transport,
    context: Context,
}

impl Pair {
    async fn new(transport: Transport, caller: impl IntoRuntime, worker: impl IntoRuntime) -> Pair {
        let context = Context::builder().build().unwrap();
        let caller = CommsManager::start("monitor", caller, config(transport, &context)).await.unwrap();
        let joining = config(transport, &context).monitor(caller.address(), caller.port());
        let worker = CommsManager::start("worker:0", worker, joining).await.unwrap();
        caller.wait_for("worker:0").await.unwrap();
        Pair { caller, worker, transport, context }
    }

    async fn serving(worker: impl IntoRuntime) -> Pair {
        Pair::new(Transport::Memory, Methods::new(), worker).await
    }

    /// Starts one more runtime.
    async fn join(&self, uid: &str) -> CommsManager {
        let joining =
            config(self.transport, &self.context).monitor(self.caller.address(), self.caller.port());
        CommsManager::start(uid, Methods::new(), joining).await.unwrap()
    }

    async fn stop(self) {
        self.worker.stop().await;
        self.caller.stop().await;
    }
}

/// Needs no lock.
struct Calculator {
    both: Barrier,
    both_computing: std::sync::Barrier,
}

impl Calculator {
    fn new() -> Calculator {
        Calculator { both: Barrier::new(2), both_computing: std::sync::Barrier::new(2) }
    }
}

const HALF: f64 = 0.5;

#[derive(Debug)]
enum Failure {
    Negative(f64),
    Text(std::num::ParseIntError),
}

impl Failure {
    fn kind(&self) -> &'static str {
        match self {
            Failure::Negative(_) => "negative",
            Failure::Text(_) => "text",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Negative(number) => write!(f, "{number} is negative"),
            Failure::Text(_) => f.write_str("this is no number"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Negative(_) => None,
            Failure::Text(cause) => Some(cause),
        }
    }
}

#[mosaic_comms::runtime]
impl Calculator {
    /// Scales a field.
    pub async fn scale(
        &self,
        field: Array<f64>,
        #[arg(default = HALF)] factor: f64,
        #[arg(default = Some(1.0))] offset: Option<f64>,
    ) -> Array<f64> {
        let scaled = field.as_slice().iter().map(|value| value * factor + offset.unwrap_or(100.0));
        scaled.collect::<Vec<_>>().into()
    }

    pub fn sum(&self, mut field: Array<f64>) -> f64 {
        let sum = field.as_slice().iter().sum();
        field = Array::from(vec![sum]);
        field.as_slice()[0]
    }

    pub async fn meet(&self) {
        self.both.wait().await;
    }

    pub fn meet_computing(&self) {
        self.both_computing.wait();
    }

    /// Names of locals in generated code, and one that Rust reserves.
    pub async fn odd_names(&self, args: u8, state: u8, outcome: u8, r#type: u8, uid: u8) -> Vec<u8> {
        vec![args, state, outcome, r#type, uid]
    }

    pub async fn clone(&self, #[arg(default = 3)] comms: u8) -> u8 {
        comms
    }

    #[error(kind = Failure::kind)]
    pub fn root(&self, text: String) -> Result<f64, Failure> {
        let number = text.parse::<i64>().map_err(Failure::Text)? as f64;
        if number < 0.0 { Err(Failure::Negative(number)) } else { Ok(number.sqrt()) }
    }

    #[error(kind = "weather")]
    pub async fn fixed_kind(&self) -> Result<(), std::fmt::Error> {
        Err(std::fmt::Error)
    }

    pub async fn own_kind(&self) -> Result<(), HandlerError> {
        Err(HandlerError::new("mine", "on purpose"))
    }

    pub async fn text(&self) -> Result<(), String> {
        Err("only a text".to_owned())
    }

    pub async fn boxed(&self) -> Result<i64, Box<dyn std::error::Error + Send + Sync>> {
        Ok("x".parse::<i64>()?)
    }

    pub async fn threads(&self) -> bool {
        self.is_here(thread::current().id())
    }

    #[cfg(any())]
    pub async fn never(&self, argument: NoSuchType, #[arg(default = 1)] other: u8) {}

    fn is_here(&self, id: ThreadId) -> bool {
        thread::current().id() == id
    }
}

fn remote(error: CallError) -> RemoteError {
    match error {
        CallError::Remote(error) => *error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn arrays_and_defaults_go_through_the_proxy_over_every_transport() {
    for transport in Transport::ALL {
        let pair = Pair::new(transport, Methods::new(), Calculator::new()).await;
        let calculator = CalculatorProxy::new(&pair.caller, "worker:0");
        let field = Array::from(vec![2.0; 100_000]);
        let by_default: Array<f64> = calculator.scale(field.clone()).await.unwrap();
        assert_eq!(by_default.as_slice(), vec![2.0; 100_000], "{transport:?}");
        let set = calculator.scale(field.clone()).factor(3.0).offset(Some(1.5)).factor(4.0);
        assert_eq!(set.deadline(Duration::from_secs(60)).await.unwrap().as_slice()[0], 9.5);
        let none = calculator.scale(vec![2.0].into()).offset(None).express();
        assert_eq!(none.await.unwrap().as_slice()[0], 101.0, "none was given, and is no default");
        assert_eq!(calculator.sum(field).deadline(Duration::from_secs(60)).await.unwrap(), 200_000.0);
        pair.stop().await;
    }
}

#[tokio::test]
async fn argument_names_are_wire_names_whatever_they_are() {
    let pair = Pair::serving(Calculator::new()).await;
    let calculator = CalculatorProxy::new(&pair.caller, "worker:0");
    assert_eq!(calculator.odd_names(1, 2, 3, 4, 5).await.unwrap(), [1, 2, 3, 4, 5]);
    let args = kwargs! { uid: 5, type: 4, outcome: 3, state: 2, args: 1 };
    let called: Vec<u8> = pair.caller.send_recv("worker:0", "odd_names", args).await.unwrap();
    assert_eq!(called, [1, 2, 3, 4, 5]);
    assert_eq!(calculator.clone().comms(7).await.unwrap(), 7);
    pair.stop().await;
}

#[tokio::test]
async fn unknown_arguments_and_methods_are_refused_with_what_exists() {
    let pair = Pair::serving(Calculator::new()).await;
    let args = kwargs! { field: Array::from(vec![1.0]), facto: 2.0 };
    let error = remote(pair.caller.send_recv::<Array<f64>>("worker:0", "scale", args).await.unwrap_err());
    assert_eq!(error.kind, RemoteError::ARGUMENT);
    let hint = "unknown argument `facto` (did you mean `factor`?); known: `field`, `factor`, `offset`";
    assert_eq!(error.message, hint);
    let error = remote(pair.caller.send_recv::<()>("worker:0", "sum", ()).await.unwrap_err());
    assert_eq!((&*error.kind, &*error.message), ("argument", "argument `field` is missing; given: none"));
    let error = remote(pair.caller.send_recv::<()>("worker:0", "is_here", ()).await.unwrap_err());
    assert_eq!(error.kind, RemoteError::UNKNOWN_METHOD);
    assert!(error.message.contains("only `scale`, `sum`, `meet`"), "{error}");
    assert!(!error.message.contains("never"), "what is compiled out is not there: {error}");
    pair.stop().await;
}

#[tokio::test]
async fn errors_of_any_type_arrive_with_kind_and_causes() {
    let pair = Pair::serving(Calculator::new()).await;
    let calculator = CalculatorProxy::new(&pair.caller, "worker:0");
    assert_eq!(calculator.root("16".to_owned()).await.unwrap(), 4.0);
    let negative = remote(calculator.root("-4".to_owned()).await.unwrap_err());
    assert_eq!((&*negative.kind, &*negative.message), ("negative", "-4 is negative"));
    assert_eq!(negative.execution(), Execution::Ran);
    let text = remote(calculator.root("x".to_owned()).await.unwrap_err());
    assert_eq!((&*text.kind, &*text.causes), ("text", &["invalid digit found in string".to_owned()][..]));
    assert_eq!(remote(calculator.fixed_kind().await.unwrap_err()).kind, "weather");
    assert_eq!(remote(calculator.own_kind().await.unwrap_err()).kind, "mine");
    let text = remote(calculator.text().await.unwrap_err());
    assert_eq!((&*text.kind, &*text.message), (RemoteError::ERROR, "only a text"));
    let boxed = remote(calculator.boxed().await.unwrap_err());
    assert_eq!((&*boxed.kind, &*boxed.message), (RemoteError::ERROR, "invalid digit found in string"));
    pair.stop().await;
}

#[tokio::test]
async fn shared_methods_run_concurrently() {
    let pair = Pair::serving(Calculator::new()).await;
    let calculator = CalculatorProxy::new(&pair.caller, "worker:0");
    let (one, other) = tokio::join!(calculator.meet().into_future(), calculator.meet().into_future());
    one.and(other).unwrap();
    let (one, other) =
        tokio::join!(calculator.meet_computing().into_future(), calculator.meet_computing().into_future());
    one.and(other).unwrap();
    assert!(calculator.threads().await.unwrap());
    pair.stop().await;
}

/// Needs a lock.
struct Ledger {
    entries: Vec<u32>,
    total: u32,
    seen: Mutex<Vec<String>>,
    both: Barrier,
    held: Arc<Notify>,
    gate: Arc<Semaphore>,
}

impl Ledger {
    fn new() -> Ledger {
        Ledger {
            entries: Vec::new(),
            total: 0,
            seen: Mutex::default(),
            both: Barrier::new(2),
            held: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }
}

#[mosaic_comms::runtime]
impl Ledger {
    pub async fn enter(&mut self, entry: u32) {
        self.entries.push(entry);
    }

    pub fn enter_computing(&mut self, entry: u32) {
        self.entries.push(entry);
    }

    pub fn entries(&self) -> Vec<u32> {
        self.entries.clone()
    }

    pub async fn add_slowly(&mut self, #[arg(default = 1)] amount: u32) -> u32 {
        let before = self.total;
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.total = before + amount;
        self.total
    }

    pub async fn meet(&self) {
        self.both.wait().await;
    }

    pub async fn hold(&mut self) {
        self.held.notify_one();
        let _ = self.gate.acquire().await;
    }

    pub fn panic(&mut self) {
        panic!("on purpose");
    }

    pub async fn seen(&mut self) -> Vec<String> {
        self.seen.lock().clone()
    }

    pub async fn thread(&self) -> String {
        format!("{:?}", thread::current().id())
    }

    pub fn computing_thread(&mut self) -> String {
        format!("{:?}", thread::current().id())
    }

    /// Calls the monitor back.
    pub async fn ask_sender(&mut self, call: &Call, number: u32) -> Result<u32, CallError> {
        self.total = OracleProxy::new(call.comms(), call.sender()).double(number).await?;
        Ok(self.total)
    }

    #[hook]
    fn connected(&self, peer: &Uid) {
        self.seen.lock().push(format!("+{peer}"));
    }

    #[hook]
    fn disconnected(&self, peer: &Uid, why: &Reason) {
        self.seen.lock().push(format!("-{peer} {}", matches!(why, Reason::Left { .. })));
    }
}

struct Oracle;

#[mosaic_comms::runtime]
impl Oracle {
    pub async fn double(&self, call: &Call, number: u32) -> u32 {
        assert_eq!(*call.sender(), *"worker:0");
        number * 2
    }
}

#[tokio::test]
async fn exclusive_methods_run_in_the_order_in_which_they_were_called() {
    for transport in Transport::ALL {
        let pair = Pair::new(transport, Methods::new(), Ledger::new()).await;
        for entry in 0..300_u32 {
            let method = if entry % 3 == 0 { "enter_computing" } else { "enter" };
            pair.caller.send("worker:0", method, kwargs! { entry }).await.unwrap();
        }
        let entries = LedgerProxy::new(&pair.caller, "worker:0").entries().await.unwrap();
        assert!(entries.into_iter().eq(0..300), "{transport:?}");
        pair.stop().await;
    }
}

#[tokio::test]
async fn exclusive_methods_exclude_each_other() {
    let pair = Pair::serving(Ledger::new()).await;
    let ledger = LedgerProxy::new(&pair.caller, "worker:0");
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(ledger.add_slowly().amount(2).into_future())).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(ledger.add_slowly().await.unwrap(), 101);
    pair.stop().await;
}

#[tokio::test]
async fn shared_methods_beside_exclusive_ones_run_concurrently() {
    let pair = Pair::serving(Ledger::new()).await;
    let ledger = LedgerProxy::new(&pair.caller, "worker:0");
    let (one, other) = tokio::join!(ledger.meet().into_future(), ledger.meet().into_future());
    one.and(other).unwrap();
    pair.stop().await;
}

#[tokio::test]
async fn plain_methods_run_elsewhere_than_async_ones() {
    let pair = Pair::serving(Ledger::new()).await;
    let ledger = LedgerProxy::new(&pair.caller, "worker:0");
    let here = format!("{:?}", thread::current().id());
    assert_eq!(ledger.thread().await.unwrap(), here);
    assert_ne!(ledger.computing_thread().await.unwrap(), here);
    pair.stop().await;
}

#[tokio::test]
async fn panic_in_an_exclusive_method_harms_no_later_one() {
    let pair = Pair::serving(Ledger::new()).await;
    let ledger = LedgerProxy::new(&pair.caller, "worker:0");
    assert_eq!(remote(ledger.panic().await.unwrap_err()).kind, RemoteError::PANIC);
    assert_eq!(ledger.add_slowly().await.unwrap(), 1);
    pair.stop().await;
}

#[tokio::test]
async fn call_that_is_given_up_while_it_waits_for_its_turn_is_not_run() {
    let state = Ledger::new();
    let (held, gate) = (state.held.clone(), state.gate.clone());
    let pair = Pair::serving(state).await;
    let ledger = LedgerProxy::new(&pair.caller, "worker:0");
    pair.caller.send("worker:0", "hold", ()).await.unwrap();
    held.notified().await;
    let given_up = ledger.enter_computing(1).deadline(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(given_up, CallError::Timeout { .. }), "{given_up}");
    // It takes the same lane as the cancellation, so that one has arrived when this is answered.
    let after = pair.caller.send_recv::<()>("worker:0", "no such method", ()).express();
    assert_eq!(remote(after.await.unwrap_err()).kind, RemoteError::UNKNOWN_METHOD);
    let next = tokio::spawn(ledger.enter(2).into_future());
    gate.add_permits(1);
    next.await.unwrap().unwrap();
    assert_eq!(ledger.entries().await.unwrap(), [2]);
    pair.stop().await;
}

#[tokio::test]
async fn hooks_wait_for_the_state_and_keep_their_order() {
    let state = Ledger::new();
    let (held, gate) = (state.held.clone(), state.gate.clone());
    let pair = Pair::serving(state).await;
    let ledger = LedgerProxy::new(&pair.caller, "worker:0");
    pair.caller.send("worker:0", "hold", ()).await.unwrap();
    held.notified().await;
    let mut events = pair.worker.events();
    let late = pair.join("late").await;
    pair.worker.wait_for("late").await.unwrap();
    late.stop().await;
    while !matches!(events.next().await, Some(mosaic_comms::Event::Disconnected { .. })) {}
    gate.add_permits(1);
    assert_eq!(ledger.seen().await.unwrap(), ["+monitor", "+late", "-late true"]);
    pair.stop().await;
}

#[tokio::test]
async fn methods_call_back_through_the_call_that_they_serve() {
    let pair = Pair::new(Transport::Unix, Oracle, Ledger::new()).await;
    assert_eq!(LedgerProxy::new(&pair.caller, "worker:0").ask_sender(21).await.unwrap(), 42);
    pair.stop().await;
}

#[test]
fn proxy_may_be_called_from_plain_threads() {
    let context = Context::builder().build().unwrap();
    let here = config(Transport::Memory, &context);
    let monitor = CommsManager::blocking_start("monitor", Ledger::new(), here).unwrap();
    assert_eq!(LedgerProxy::new(&monitor, "monitor").add_slowly().amount(4).blocking_wait().unwrap(), 4);
    monitor.blocking_stop();
}

#[test]
fn runtime_without_exclusive_methods_can_be_shared() {
    let shared: Arc<dyn Runtime> = Arc::new(Oracle);
    assert_eq!(shared.methods()[0].to_string(), "double(number)");
    assert_eq!(Ledger::new().into_runtime().methods().len(), 11);
}

#[test]
fn methods_are_described_for_tools() {
    let methods = Calculator::new().methods();
    let described: Vec<String> = methods.iter().map(ToString::to_string).collect();
    let expected = [
        "scale(field, factor = HALF, offset = Some(1.0))",
        "sum(field)",
        "meet()",
        "meet_computing()",
        "odd_names(args, state, outcome, type, uid)",
        "clone(comms = 3)",
    ];
    assert_eq!(described[..6], expected);
    assert_eq!((methods[0].docs(), methods[1].docs()), ("Scales a field.", ""));
    assert!(!methods.iter().any(|method| method.name() == "never"), "what is compiled out is not there");
    let closures = Methods::new().method("add", |_, _| async { Ok(3) });
    assert_eq!(closures.methods()[0].to_string(), "add(..)");
}
