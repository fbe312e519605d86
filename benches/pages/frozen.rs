//! The health page while every store is frozen.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::client::{self, Connection, request};
use crate::report::{Figure, Target, middle, percentile, range};
use crate::stage::{self, Stage};

const CLIENTS: usize = 50;
const ROUNDS: usize = 3;
const LASTS: Duration = Duration::from_secs(2);
/// The page is larger than this for signed-in users, and smaller for others.
const DETAILED: usize = 20_000;

/// Each round starts with freshly frozen servers and ends long after they are known to be down.
pub async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    let larder = stage.larder().await?;
    let address = stage::address(&larder)?;
    let cookie = larder.cookie.as_str();
    type Row<'a> = (&'static str, Vec<u8>, fn(u16, usize) -> bool);
    let json = [("accept", "application/json"), ("cookie", cookie)];
    let html = [("accept", "text/html"), ("cookie", cookie)];
    // The status of the JSON document is 503 when services are down.
    let rows: [Row; 5] = [
        ("/livez", request("/livez", &[]), |status, _| status == 200),
        ("/health, JSON, signed out", request("/health", &json[..1]), |status, _| matches!(status, 200 | 503)),
        ("/health, JSON, signed in", request("/health", &json), |status, length| matches!(status, 200 | 503) && length > 1_000),
        ("/health, page, signed out", request("/health", &html[..1]), |status, length| status == 200 && length < DETAILED),
        ("/health, page, signed in", request("/health", &html), |status, length| status == 200 && length > DETAILED),
    ];
    for (what, request, is_good) in &rows {
        let mut connection = Connection::open(address).await?;
        let answer = connection.ask(request).await.context(*what)?;
        ensure!(is_good(answer.status, answer.body.len()), "{what}: {} with {} bytes", answer.status, answer.body.len());
    }
    let mut seen: Vec<Vec<client::Seen>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        // The page has been requested before.
        let mut connection = Connection::open(address).await?;
        connection.ask(&rows[4].1).await?;
        stage.freeze()?;
        // Each round starts with a different page, which meets the servers before they are known to be frozen.
        for at in (0..rows.len()).map(|at| (at + rows.len() - 1 - round) % rows.len()) {
            let (_, request, is_good) = &rows[at];
            seen[at].push(client::closed_loop(address, request, CLIENTS, LASTS, *is_good).await);
        }
        stage.thaw()?;
        tokio::time::sleep(Duration::from_secs(12)).await;
    }
    let mut figures = Vec::new();
    for ((what, _, _), rounds) in rows.iter().zip(&mut seen) {
        let p99: Vec<f64> = rounds.iter_mut().map(|seen| percentile(&mut seen.times, 99)).collect();
        let rates: Vec<f64> = rounds.iter().map(client::Seen::per_second).collect();
        let errors: usize = rounds.iter().map(|seen| seen.errors).sum();
        let note = format!("{}, {:.0} a second", range(&p99), middle(&rates));
        figures.push(Figure::new(format!("{what}: p99, ms"), middle(&p99), Target::AtMost(10.0)).note(note));
        figures.push(Figure::new(format!("{what}: errors"), errors as f64, Target::AtMost(0.0)));
    }
    Ok(figures)
}
