//! Many runtimes: how soon they are up, and what a manager costs. Measured once a run, and not pinned: it is about
//! more processes than there are processors.

use std::future::pending;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use mosaic_comms::{CommsManager, Methods, local};
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::part::Part;
use mosaic_yardsticks::peer::{Peer, executor};
use mosaic_yardsticks::process::{Pinning, Server, own_memory, processor_time};
use mosaic_yardsticks::sheet::{Sheet, quantile};

use super::{Mosaic, memory};

/// Figures of networks of this library.
pub struct Network;

/// The processes that the thousand are in.
const PROCESSES: usize = 8;

/// How long a crowd does nothing.
const IDLE: Duration = Duration::from_secs(4);

/// How long a crowd may take to join.
const JOIN_WITHIN: Duration = Duration::from_secs(30);

impl Peer for Network {
    fn id(&self) -> &'static str {
        "mosaic-network"
    }

    fn title(&self) -> &'static str {
        "Mosaic, network"
    }

    fn about(&self) -> &'static str {
        "this library: many runtimes, by Unix sockets"
    }

    fn column(&self) -> &'static str {
        Mosaic::Unix.id()
    }

    fn parts(&self, pinning: Pinning) -> &'static [Part] {
        match pinning {
            Pinning::Pinned => &[],
            Pinning::Default => &[Part::Messages],
        }
    }

    /// A crowd of idle runtimes: `PORT PREFIX COUNT` joins the monitor there, `monitor TRANSPORT COUNT` has one here.
    fn serve(&self, details: &[&str]) -> Outcome {
        executor()?.block_on(async {
            let _crowd = match *details {
                ["monitor", transport, count] => {
                    let mosaic = Mosaic::parse(transport)?;
                    let monitor = CommsManager::start("monitor", Methods::new(), mosaic.config()).await?;
                    let mut crowd = join(mosaic, monitor.port(), "crowd", count.parse()?).await?;
                    println!("{}", monitor.port());
                    crowd.push(monitor);
                    crowd
                }
                [port, prefix, count] => {
                    let crowd = join(Mosaic::Unix, port.parse()?, prefix, count.parse()?).await?;
                    println!("joined");
                    crowd
                }
                _ => return Err("a crowd takes a port, a prefix and a count".into()),
            };
            pending().await
        })
    }

    fn measure(&self, _part: Part, sheet: &Sheet) -> Outcome {
        executor()?.block_on(async {
            start_up(sheet, "start-1", 1, 9).await?;
            start_up(sheet, "start-16", 16, 3).await?;
            memory::manager(sheet).await?;
            thousand(sheet).await
        })
    }
}

async fn join(mosaic: Mosaic, port: u16, prefix: &str, count: usize) -> Outcome<Vec<CommsManager>> {
    let joining = (0..count).map(|number| {
        let config = mosaic.config().monitor("127.0.0.1", port).handshake_within(JOIN_WITHIN);
        CommsManager::start(format!("{prefix}:{number}"), Methods::new(), config)
    });
    Ok(try_join_all(joining).await?)
}

/// From nothing to a network of worker processes that have all joined.
async fn start_up(sheet: &Sheet, id: &str, workers: usize, rounds: usize) -> Outcome {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let network = local::Network::builder().workers(workers).start().await?;
        times.push(start.elapsed());
        network.stop().await;
    }
    sheet.write(id, quantile(times, 0.5)?)
}

/// From the start of the processes until the monitor knows a thousand, and each of them that it has joined; then, what they
/// cost while nothing happens.
async fn thousand(sheet: &Sheet) -> Outcome {
    let monitor = CommsManager::start("monitor", Methods::new(), Mosaic::Unix.config()).await?;
    let port = monitor.port().to_string();
    let count = (1000 / PROCESSES).to_string();
    let start = Instant::now();
    let mut crowds = (0..PROCESSES)
        .map(|number| Server::start("mosaic-network", &[&port, &format!("crowd:{number}"), &count]))
        .collect::<Outcome<Vec<_>>>()?;
    monitor.wait_for_count("crowd:*", 1000).deadline(JOIN_WITHIN).await?;
    for crowd in &mut crowds {
        crowd.line()?;
    }
    sheet.write("join-1000", start.elapsed().as_secs_f64())?;
    sheet.write("join-bytes", monitor.status().counters.bytes_sent as f64 / 1000.0)?;
    idle(&crowds, sheet).await?;
    drop(crowds);
    monitor.stop().await;
    Ok(())
}

/// What each of a thousand costs while nothing happens: hearts are all that they do.
async fn idle(crowds: &[Server], sheet: &Sheet) -> Outcome {
    // Those that came last have just been told of by the monitor.
    tokio::time::sleep(memory::SETTLED).await;
    let used = || crowds.iter().map(|crowd| processor_time(crowd.id())).sum::<Outcome<Duration>>();
    let (before, start) = (used()?, Instant::now());
    tokio::time::sleep(IDLE).await;
    let share = (used()? - before).as_secs_f64() / start.elapsed().as_secs_f64();
    sheet.write("idle-time", share / 1000.0)?;
    let memory = crowds.iter().map(|crowd| own_memory(crowd.id())).sum::<Outcome<f64>>()?;
    sheet.write("idle-memory", memory / 1000.0)
}
