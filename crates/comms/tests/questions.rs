//! What a runtime is asked about itself: the library answers, and the program never sees the question.

use mosaic_comms::{
    AnyArray, Array, CallError, CommsManager, Config, Context, Dtype, Methods, ObjectRef, Order, RemoteError,
    Runtime, Value, kwargs,
};
use mosaic_testkit::{Transport, network};

struct Solver;

#[mosaic_comms::runtime]
impl Solver {
    /// Scales a field.
    ///
    /// The field stays where it is.
    pub async fn scale(&self, field: Array<f32>, #[arg(default = 2.0)] factor: f32) -> Array<f32> {
        field.as_slice().iter().map(|value| value * factor).collect::<Vec<_>>().into()
    }
}

#[tokio::test]
async fn methods_are_told_over_every_transport_and_to_oneself() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        net.workers[0].0.objects().register("Solver", "1", Solver);
        let told = net.head.methods_of("worker:0").await.unwrap();
        let names: Vec<_> = told.iter().map(|method| method.name()).collect();
        assert_eq!(names, ["add", "echo", "never", "note", "noted", "panic", "sum"], "{transport:?}");
        let solver = ObjectRef::new("Solver", "1");
        let told = net.head.methods_of_object("worker:0", &solver).await.unwrap();
        assert_eq!(told, Solver.methods());
        assert_eq!(told[0].docs(), "Scales a field.\n\nThe field stays where it is.");
        assert_eq!(net.workers[0].0.methods_of_object("worker:0", &solver).await.unwrap(), told);
        net.stop().await;
    }
}

#[tokio::test]
async fn an_unknown_object_or_question_is_an_error_that_says_what_there_is() {
    let net = network(Transport::Memory, 1).await;
    net.workers[0].0.objects().register("Solver", "1", Solver);
    let error = net.head.methods_of_object("worker:0", &ObjectRef::new("Solver", "2")).await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error}") };
    assert_eq!((error.kind.as_str(), error.uid.as_str()), (RemoteError::UNKNOWN_OBJECT, "worker:0"));
    assert!(error.message.contains("`1`"), "{error}");
    let error = net.head.send_recv::<()>("worker:0", "mosaic.weather", ()).await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error}") };
    assert_eq!(error.kind, RemoteError::UNKNOWN_METHOD);
    assert!(error.message.contains("no question `mosaic.weather`"), "{error}");
    net.stop().await;
}

#[tokio::test]
async fn a_runtime_answers_whose_handlers_all_run_and_whose_program_pulls_its_messages() {
    let context = Context::builder().build().unwrap();
    let here = Config::default().address("127.0.0.1").context(context);
    let never = || Methods::new().method("never", |_, _| std::future::pending::<Result<(), _>>());
    let monitor = CommsManager::start("monitor", never(), here.clone().running_handlers(1)).await.unwrap();
    let joining = here.monitor(monitor.address(), monitor.port());
    let pulls = CommsManager::new("pulls", never(), joining.clone()).unwrap();
    pulls.connect_recv().await.unwrap();
    pulls.handshake("monitor", &monitor.address(), monitor.port()).await.unwrap();
    let head = CommsManager::start("head", Methods::new(), joining).await.unwrap();
    let busy = head.send("monitor", "never", ()).reply::<()>().await.unwrap();
    for uid in ["monitor", "pulls"] {
        assert_eq!(head.methods_of(uid).await.unwrap()[0].name(), "never");
    }
    drop(busy);
    for comms in [head, pulls, monitor] {
        comms.stop().await;
    }
}

#[tokio::test]
async fn any_value_travels_without_its_type_being_known() {
    for transport in [Transport::Memory, Transport::Unix] {
        let net = network(transport, 1).await;
        let array = AnyArray::from_bytes(Dtype::Float64, Order::F, &[2, 3], vec![0; 48]).unwrap();
        let told: Value = net.head.send_recv("worker:0", "echo", kwargs! { value: array }).await.unwrap();
        assert_eq!(told, Value::Array(array), "{transport:?}");
        let told: Value = net.head.send_recv("worker:0", "add", kwargs! { a: 1, b: -3.5 }).await.unwrap();
        assert_eq!(told, Value::Float(-2.5));
        net.stop().await;
    }
}

#[test]
fn elements_that_make_no_array_are_refused() {
    let few = AnyArray::from_bytes(Dtype::Float32, Order::C, &[2, 3], vec![0; 23]).unwrap_err();
    assert_eq!(few.to_string(), "an array <f4 [2, 3] takes 24 bytes, but there are 23");
    let no_bool = AnyArray::from_bytes(Dtype::Bool, Order::C, &[3], vec![0, 1, 2]).unwrap_err();
    assert_eq!(no_bool.to_string(), "byte 2 is 2, which is no bool");
}
