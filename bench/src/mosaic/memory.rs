//! What links and managers cost while they do nothing.

use std::time::Duration;

use mosaic_comms::{CommsManager, Context, Methods};
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::peer::Peer;
use mosaic_yardsticks::process::{Server, own_memory};
use mosaic_yardsticks::sheet::Sheet;

use super::Mosaic;

/// How many peers a link is opened to.
const LINKS: usize = 64;

/// How many managers are made.
const MANAGERS: usize = 32;

/// After this, what was needed to make something has been given back.
pub const SETTLED: Duration = Duration::from_millis(300);

/// The memory of a link to a peer that is known already, once nothing is under way on it any more.
pub async fn link(mosaic: Mosaic, sheet: &Sheet) -> Outcome {
    let mut crowd = Server::start("mosaic-network", &["monitor", mosaic.id(), &LINKS.to_string()])?;
    let port = crowd.line()?.parse()?;
    let config = mosaic.config().context(Context::builder().build()?).monitor("127.0.0.1", port);
    let member = CommsManager::start("member", Methods::new(), config).await?;
    let peers = member.wait_for_count("crowd:*", LINKS).await?;
    tokio::time::sleep(SETTLED).await;
    let before = own_memory(std::process::id())?;
    for peer in &peers {
        member.ping(peer).await?;
    }
    tokio::time::sleep(SETTLED).await;
    let after = own_memory(std::process::id())?;
    member.stop().await;
    sheet.write("link-memory", (after - before).max(0.0) / LINKS as f64)
}

/// The memory of a manager that listens, with a context of its own, in a process that has made some before.
pub async fn manager(sheet: &Sheet) -> Outcome {
    let make = async |number: usize| -> Outcome<CommsManager> {
        let config = Mosaic::Unix.config().context(Context::builder().build()?).alone();
        Ok(CommsManager::start(format!("manager:{number}"), Methods::new(), config).await?)
    };
    let first = make(0).await?;
    tokio::time::sleep(SETTLED).await;
    let before = own_memory(std::process::id())?;
    let mut managers = Vec::new();
    for number in 1..=MANAGERS {
        managers.push(make(number).await?);
    }
    tokio::time::sleep(SETTLED).await;
    let after = own_memory(std::process::id())?;
    for manager in managers.iter().chain([&first]) {
        manager.stop().await;
    }
    sheet.write("manager-memory", (after - before).max(0.0) / MANAGERS as f64)
}
