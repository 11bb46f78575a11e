//! Nothing waits for ever: what ends calls, stops and dials when things don't go as planned.

use std::time::Duration;

use mosaic_comms::{CommsManager, Config, Context, Execution, Methods};
use tokio::time::timeout;

/// Far more than anything here should take, on the virtual clock where there is one.
const LONG: Duration = Duration::from_secs(60);

fn simulated() -> Config {
    Config::default().context(Context::simulated(7))
}

#[tokio::test(start_paused = true)]
async fn a_call_to_someone_who_was_dialled_in_vain_ends() {
    let head = CommsManager::start("head", Methods::new(), simulated()).await.unwrap();
    timeout(LONG, head.connect_send("ghost", "nowhere", 9)).await.unwrap().unwrap_err();
    let error = timeout(LONG, head.send_recv::<()>("ghost", "add", ())).await.expect("it ends").unwrap_err();
    assert_eq!(error.execution(), Execution::NotRun, "{error}");
    let dropped = timeout(Duration::from_millis(10), head.connect_send("spirit", "nowhere", 9)).await;
    assert!(dropped.is_err());
    let error = timeout(LONG, head.send_recv::<()>("spirit", "add", ())).await.expect("it ends").unwrap_err();
    assert_eq!(error.execution(), Execution::NotRun, "{error}");
    head.stop().await;
}
