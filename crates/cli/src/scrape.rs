//! What Prometheus scrapes: the numbers of every runtime in the network, asked for when somebody wants them. HTTP as far as
//! a scrape needs it: one request a connection, bounded in size, time and number.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use mosaic_comms::{CommsManager, Uid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Bytes of a request at most.
const REQUEST: usize = 8192;

/// How long a connection may take, and how long runtimes are waited for meanwhile: a scraper gives up after 10 s as a rule.
const WITHIN: Duration = Duration::from_secs(5);
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// How long nothing is accepted after the system had none to give.
const ACCEPTS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Connections at a time; further ones are closed.
const CONNECTIONS: usize = 16;

/// How long the numbers of a runtime are told that is gone: a few scrapes.
const KEPT: Duration = Duration::from_secs(60);

/// Limits of the histograms, in seconds: from what is quick within a process to what computes for a while.
const BUCKETS: [f64; 12] = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0, 10.0, 100.0];

/// Whether a runtime answers.
const UP: &str = "mosaic_up";

/// The port that is scraped.
pub(crate) struct Scrape {
    listener: TcpListener,
    recorder: PrometheusHandle,
}

impl Scrape {
    /// Binds the port, and becomes the recorder of this process.
    pub(crate) async fn bind(address: &str, port: u16) -> Result<Scrape, Box<dyn Error>> {
        let failed = |error| format!("{address}:{port} cannot be bound for metrics: {error}");
        let listener = TcpListener::bind((address, port)).await.map_err(failed)?;
        let recorder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)?
            .idle_timeout(MetricKindMask::COUNTER | MetricKindMask::GAUGE, Some(KEPT))
            .install_recorder()?;
        metrics::describe_gauge!(UP, "Whether a runtime answers.");
        Ok(Scrape { listener, recorder })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers scrapes until it is dropped.
    pub(crate) async fn serve(self, comms: CommsManager) {
        // Times are recorded from now on.
        comms.publish_metrics();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of descriptors, perhaps: others may give some back.
                tokio::time::sleep(ACCEPTS_AGAIN_AFTER).await;
                continue;
            };
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let (comms, recorder) = (comms.clone(), self.recorder.clone());
            tokio::spawn(async move {
                // Whoever scrapes has gone, or sends no request: nobody is left to tell.
                let _ = timeout(WITHIN, answer(stream, &comms, &recorder)).await;
                drop(place);
            });
        }
    }
}

async fn answer(mut stream: TcpStream, comms: &CommsManager, recorder: &PrometheusHandle) -> io::Result<()> {
    let request = read_request(&mut stream).await?;
    let (status, body) = match request.split(' ').collect::<Vec<_>>()[..] {
        ["GET", "/metrics", ..] => {
            gather(comms).await;
            recorder.run_upkeep();
            ("200 OK", recorder.render())
        }
        ["GET", ..] => ("404 Not Found", "what there is, is at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET is what there is\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The first line of a request, once its head has come.
async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > REQUEST || stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let text = String::from_utf8_lossy(&head);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Asks everybody at once, and publishes what they say.
async fn gather(comms: &CommsManager) {
    let mut asked = JoinSet::new();
    for uid in comms.peers("*") {
        let asked_one = comms.status_of(&uid).deadline(ANSWERED_WITHIN).into_future();
        asked.spawn(async move { (uid, asked_one.await.ok()) });
    }
    comms.publish_metrics();
    up(comms.uid(), 1.0);
    for (uid, status) in asked.join_all().await {
        up(&uid, if status.is_some() { 1.0 } else { 0.0 });
        if let Some(status) = status {
            status.publish_metrics();
        }
    }
}

fn up(uid: &Uid, value: f64) {
    gauge!(UP, "runtime" => uid.to_string()).set(value);
}
