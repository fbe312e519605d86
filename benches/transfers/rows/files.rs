//! Whole files with curl: one, or several at the same time, in either direction.

use std::path::Path;

use anyhow::Result;
use futures_util::future::try_join_all;

use super::MIB;
use crate::arguments::RowName;
use crate::endpoints::{Endpoint, Endpoints};
use crate::rounds::{Plan, Series, measure};

/// Description of the row, bytes per measurement, and the measurements.
type Measured = (String, u64, Vec<Series>);

const ALL: [Endpoint; 3] = [Endpoint::Store, Endpoint::Nginx, Endpoint::Larder];
const TWO: [Endpoint; 2] = [Endpoint::Store, Endpoint::Larder];

pub async fn upload(endpoints: Endpoints<'_>) -> Result<Measured> {
    let size = endpoints.stage.arguments.size;
    let file = endpoints.stage.input(size)?;
    let plan = Plan { row: RowName::Upload, rounds: endpoints.stage.arguments.rounds, warm_up: true, disk: size };
    let series = uploads(endpoints, &ALL, plan, &file, size, 1).await?;
    let explanation = "curl uploads one file: through Larder's form, and by a presigned PUT to the store and to nginx in front of it";
    Ok((format!("{} MiB. {explanation}", size / MIB), size, series))
}

pub async fn eight(endpoints: Endpoints<'_>) -> Result<Measured> {
    let size = endpoints.stage.arguments.size;
    let file = endpoints.stage.input(size)?;
    let plan = Plan { row: RowName::Eight, rounds: endpoints.stage.arguments.rounds, warm_up: true, disk: 8 * size };
    let series = uploads(endpoints, &TWO, plan, &file, size, 8).await?;
    Ok((format!("8 × {} MiB. Eight such uploads at once, until the last has ended", size / MIB), 8 * size, series))
}

pub async fn large(endpoints: Endpoints<'_>) -> Result<Measured> {
    let size = endpoints.stage.arguments.large;
    let file = endpoints.stage.sparse(size)?;
    let plan = Plan { row: RowName::Large, rounds: 1, warm_up: false, disk: 8 * size };
    let series = uploads(endpoints, &[Endpoint::Larder], plan, &file, size, 8).await?;
    Ok((format!("8 × {} MiB. Eight files of zeros at once through Larder, once: only its memory counts", size / MIB), 8 * size, series))
}

async fn uploads(endpoints: Endpoints<'_>, through: &[Endpoint], plan: Plan, file: &Path, size: u64, count: usize) -> Result<Vec<Series>> {
    let send = async |endpoint, name: &str| {
        let prefix = format!("{name}/");
        let names: Vec<String> = (0..count).map(|number| format!("{number}.bin")).collect();
        try_join_all(names.iter().map(|name| endpoints.upload(endpoint, &prefix, name, file))).await.map(drop)
    };
    let after = async |name: &str| {
        let prefix = format!("{name}/");
        endpoints.stage.check(&prefix, count, size).await?;
        endpoints.stage.clear(&prefix).await
    };
    measure(endpoints, through, plan, send, after).await
}

pub async fn download(endpoints: Endpoints<'_>) -> Result<Measured> {
    let size = endpoints.stage.arguments.size;
    let plan = Plan { row: RowName::Download, rounds: endpoints.stage.arguments.rounds, warm_up: true, disk: 0 };
    let series = downloads(endpoints, &ALL, plan, size, 1).await?;
    let explanation = "curl downloads one object: from Larder, and by a presigned GET from the store and from nginx in front of it";
    Ok((format!("{} MiB. {explanation}", size / MIB), size, series))
}

pub async fn hundred(endpoints: Endpoints<'_>) -> Result<Measured> {
    let size = endpoints.stage.arguments.hundred;
    let plan = Plan { row: RowName::Hundred, rounds: endpoints.stage.arguments.rounds, warm_up: true, disk: 0 };
    let series = downloads(endpoints, &TWO, plan, size, 100).await?;
    Ok((format!("100 × {} MiB. A hundred such downloads of one object at once, until the last has ended", size / MIB), 100 * size, series))
}

async fn downloads(endpoints: Endpoints<'_>, through: &[Endpoint], plan: Plan, size: u64, count: usize) -> Result<Vec<Series>> {
    let key = "object.bin";
    endpoints.stage.put_file(key, &endpoints.stage.input(size)?).await?;
    let fetch = async |endpoint, _: &str| try_join_all((0..count).map(|_| endpoints.download(endpoint, key, size))).await.map(drop);
    let series = measure(endpoints, through, plan, fetch, async |_: &str| Ok(())).await?;
    endpoints.stage.clear(key).await?;
    Ok(series)
}
