//! The time until a service that stops responding is shown as a warning, as down, and as healthy after its recovery,
//! with the check period used in production.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use larder::embedded::Server;

use crate::client::{Connection, request};
use crate::report::{Figure, Target, middle, most, range};
use crate::stage::{self, Stage};

const LOOKS: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(40);

#[derive(Clone, Copy)]
enum How {
    Killed,
    Frozen,
}

/// What is shown about one service.
#[derive(Clone, Copy, Debug)]
struct Shown {
    healthy: bool,
    warns: bool,
    /// Whether the page lists it as down.
    down: bool,
}

struct Looker {
    address: SocketAddr,
    slug: &'static str,
}

impl Looker {
    async fn look(&self, connection: &mut Connection) -> Result<Shown> {
        let one = request(&format!("/health/{}", self.slug), &[]);
        let healthy = connection.ask(&one).await?.text().contains("\"healthy\":true");
        let warns = !connection.ask(&request("/health", &[])).await?.text().contains("\"status\":\"pass\"");
        let page = connection.ask(&request("/health", &[("accept", "text/html")])).await?.text();
        let down = page.contains(&format!("health-down\" data-key=\"{}\"", self.slug));
        Ok(Shown { healthy, warns, down })
    }

    /// Seconds from `began` until it is shown like this.
    async fn until(&self, began: Instant, what: &str, so: fn(Shown) -> bool) -> Result<f64> {
        // Larder closes connections that are idle for a few seconds.
        let mut connection = Connection::open(self.address).await?;
        loop {
            let shown = self.look(&mut connection).await?;
            if so(shown) {
                return Ok(began.elapsed().as_secs_f64());
            }
            if began.elapsed() > TIMEOUT {
                bail!("{} is not shown as {what} within {TIMEOUT:?}: {shown:?}", self.slug);
            }
            tokio::time::sleep(LOOKS).await;
        }
    }
}

pub async fn measure(stage: &Stage, rounds: usize) -> Result<Vec<Figure>> {
    let larder = stage.larder().await?;
    let Stage { servers, .. } = stage;
    let all = [("Redis", "redis", servers.redis()), ("Postgres", "postgres", servers.postgres()), ("S3", "s3", servers.s3())];
    let mut figures = Vec::new();
    for (name, slug, server) in all {
        let looker = Looker { address: stage::address(&larder)?, slug };
        for how in [How::Killed, How::Frozen] {
            let word = if matches!(how, How::Killed) { "killed" } else { "frozen" };
            let (mut warn, mut down, mut back) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..rounds {
                looker.until(Instant::now(), "well", |shown| shown.healthy && !shown.down).await?;
                // At a random moment between two checks.
                tokio::time::sleep(Duration::from_millis(4_000 + 1_300 * round as u64)).await;
                let began = Instant::now();
                halt(server, how);
                warn.push(looker.until(began, "a warning", |shown| !shown.healthy && shown.warns).await?);
                down.push(looker.until(began, "down", |shown| shown.down).await?);
                match how {
                    How::Killed => server.start()?,
                    How::Frozen => server.thaw(),
                }
                back.push(looker.until(Instant::now(), "well again", |shown| shown.healthy && !shown.down).await?);
            }
            for (what, seconds, target) in [("a warning", warn, 6.0), ("down", down, 16.0), ("recovered, shown as healthy", back, 11.0)] {
                let note = format!("{}, middle {:.1}", range(&seconds), middle(&seconds));
                figures.push(Figure::new(format!("{name} {word}: {what}, worst, s"), most(&seconds), Target::AtMost(target)).note(note));
            }
        }
    }
    Ok(figures)
}

fn halt(server: &Server, how: How) {
    match how {
        How::Frozen => server.freeze(),
        // Stopped first, so that it is not restarted, and killed before it can shut down gracefully.
        How::Killed => std::thread::scope(|scope| {
            scope.spawn(|| server.stop());
            std::thread::sleep(Duration::from_millis(1));
            server.kill();
        }),
    }
}
