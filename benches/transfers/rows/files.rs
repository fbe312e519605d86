//! Whole files by curl: one, or several at once, in either direction.

use std::path::Path;

use anyhow::Result;
use futures_util::future::try_join_all;

use super::MIB;
use crate::arguments::RowName;
use crate::doors::{Door, Doors};
use crate::rounds::{Plan, Series, measure};

/// What the row measures, in a line; the bytes of one measurement; the measurements.
type Measured = (String, u64, Vec<Series>);

const ALL: [Door; 3] = [Door::Store, Door::Nginx, Door::Larder];
const TWO: [Door; 2] = [Door::Store, Door::Larder];

pub async fn upload(doors: Doors<'_>) -> Result<Measured> {
    let size = doors.stage.arguments.size;
    let file = doors.stage.input(size)?;
    let plan = Plan { row: RowName::Upload, rounds: doors.stage.arguments.rounds, warm_up: true, disk: size };
    let series = uploads(doors, &ALL, plan, &file, size, 1).await?;
    let explanation = "curl sends one file: through Larder's form; by a presigned PUT to the store, and to nginx in front of it";
    Ok((format!("{} MiB. {explanation}", size / MIB), size, series))
}

pub async fn eight(doors: Doors<'_>) -> Result<Measured> {
    let size = doors.stage.arguments.size;
    let file = doors.stage.input(size)?;
    let plan = Plan { row: RowName::Eight, rounds: doors.stage.arguments.rounds, warm_up: true, disk: 8 * size };
    let series = uploads(doors, &TWO, plan, &file, size, 8).await?;
    Ok((format!("8 × {} MiB. Eight such uploads at once, until the last has ended", size / MIB), 8 * size, series))
}

pub async fn large(doors: Doors<'_>) -> Result<Measured> {
    let size = doors.stage.arguments.large;
    let file = doors.stage.sparse(size)?;
    let plan = Plan { row: RowName::Large, rounds: 1, warm_up: false, disk: 8 * size };
    let series = uploads(doors, &[Door::Larder], plan, &file, size, 8).await?;
    Ok((format!("8 × {} MiB. Eight files of zeros at once through Larder, once: only its memory counts", size / MIB), 8 * size, series))
}

async fn uploads(doors: Doors<'_>, through: &[Door], plan: Plan, file: &Path, size: u64, count: usize) -> Result<Vec<Series>> {
    let send = async |door, name: &str| {
        let prefix = format!("{name}/");
        let names: Vec<String> = (0..count).map(|number| format!("{number}.bin")).collect();
        try_join_all(names.iter().map(|name| doors.upload(door, &prefix, name, file))).await.map(drop)
    };
    let after = async |name: &str| {
        let prefix = format!("{name}/");
        doors.stage.check(&prefix, count, size).await?;
        doors.stage.clear(&prefix).await
    };
    measure(doors, through, plan, send, after).await
}

pub async fn download(doors: Doors<'_>) -> Result<Measured> {
    let size = doors.stage.arguments.size;
    let plan = Plan { row: RowName::Download, rounds: doors.stage.arguments.rounds, warm_up: true, disk: 0 };
    let series = downloads(doors, &ALL, plan, size, 1).await?;
    let explanation = "curl fetches one object: from Larder; by a presigned GET from the store, and from nginx in front of it";
    Ok((format!("{} MiB. {explanation}", size / MIB), size, series))
}

pub async fn hundred(doors: Doors<'_>) -> Result<Measured> {
    let size = doors.stage.arguments.hundred;
    let plan = Plan { row: RowName::Hundred, rounds: doors.stage.arguments.rounds, warm_up: true, disk: 0 };
    let series = downloads(doors, &TWO, plan, size, 100).await?;
    Ok((format!("100 × {} MiB. A hundred such downloads of one object at once, until the last has ended", size / MIB), 100 * size, series))
}

async fn downloads(doors: Doors<'_>, through: &[Door], plan: Plan, size: u64, count: usize) -> Result<Vec<Series>> {
    let key = "object.bin";
    doors.stage.put_file(key, &doors.stage.input(size)?).await?;
    let fetch = async |door, _: &str| try_join_all((0..count).map(|_| doors.download(door, key, size))).await.map(drop);
    let series = measure(doors, through, plan, fetch, async |_: &str| Ok(())).await?;
    doors.stage.clear(key).await?;
    Ok(series)
}
