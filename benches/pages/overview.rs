//! The overview of a signed-in user, compared with a bare page of the same size.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::client::{Connection, closed_loop, request};
use crate::neighbours::Neighbour;
use crate::process;
use crate::report::{Figure, Target, middle, range};
use crate::stage::{self, Stage};

const CLIENTS: usize = 16;
const ROUNDS: usize = 9;
const LASTS: Duration = Duration::from_secs(2);

pub async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    // Requests are counted but never near the limit: a single user sends all requests, so the limit is set to the
    // maximum and the counters are reset each round.
    let larder = stage.larder_with(&[("RATE_LIMIT_PER_MINUTE", "100000")]).await?;
    let address = stage::address(&larder)?;
    let asking = request("/", &[("accept", "text/html"), ("cookie", &larder.cookie)]);
    let mut connection = Connection::open(address).await?;
    // The first request fills the caches.
    connection.ask(&asking).await?;
    let page = connection.ask(&asking).await?;
    ensure!(page.status == 200 && page.text().contains("Last ten events"), "the overview: {}", page.status);
    let weight = page.head.len() + page.body.len();
    let file = stage.directory.join("page");
    std::fs::write(&file, [page.head, page.body].concat())?;
    let bare = Neighbour::start(&file.display().to_string(), &stage.directory).await?;
    let same = Connection::open(bare.address).await?.ask(&asking).await?.weight();
    ensure!((same.0 + same.1).abs_diff(weight) < 64, "the bare page has {same:?} bytes, the overview {weight}");
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let workers = [("Larder", Some(larder.pid())), ("Postgres", stage.servers.postgres().pid()), ("Redis", stage.servers.redis().pid())];
    let busy = || workers.map(|(_, pid)| pid.and_then(|pid| process::cpu(pid).ok()).unwrap_or_default());
    let (mut pages, mut spent) = (0, [0.0; 3]);
    for round in 0..=ROUNDS {
        let mut rates = [0.0; 2];
        // Alternating, so that neither always has the warmer machine.
        for at in [round % 2, 1 - round % 2] {
            stage.forgive().await?;
            let before = busy();
            let seen = closed_loop([address, bare.address][at], &asking, CLIENTS, LASTS, |status, _| status == 200).await;
            ensure!(seen.errors == 0, "{} errors", seen.errors);
            rates[at] = seen.per_second();
            if at == 0 {
                pages += seen.times.len();
                busy().iter().zip(before).zip(&mut spent).for_each(|((after, before), spent)| *spent += after - before);
            }
        }
        // The first round is a warm-up.
        if round > 0 {
            ours.push(rates[0]);
            theirs.push(rates[1]);
            ratios.push(rates[0] / rates[1]);
        }
    }
    let mut figures = vec![
        Figure::new(format!("overview, {:.1} KB, a second", weight as f64 / 1000.0), middle(&ours), Target::None).note(range(&ours)),
        Figure::new("bare page of the same bytes, a second", middle(&theirs), Target::None).note(range(&theirs)),
        Figure::new("overview ÷ bare page", middle(&ratios), Target::AtLeast(0.4)).note(range(&ratios)),
    ];
    for ((name, _), seconds) in workers.iter().zip(spent) {
        figures.push(Figure::new(format!("processor time of {name} for one, µs"), seconds * 1e6 / pages as f64, Target::None));
    }
    Ok(figures)
}
