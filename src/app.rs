//! Assembles the actix App; serves, drains and shuts down.

mod background;
mod connections;
mod schedule;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Environment};
use crate::console::view::assets::Assets;
use crate::domain::{self, health, uploads};
use crate::embedded::Servers;
use crate::meter::Meter;
use crate::ready::Ready;
use crate::stores::{postgres, redis, s3};
use crate::{api, console};

/// Time limit for requests in progress after SIGTERM; the whole shutdown takes at most 32 s.
const DRAIN: Duration = Duration::from_secs(25);

/// How long an idle connection stays open. Longer than the idle timeout of proxies, so that none sends a request
/// while the connection is being closed: nginx and AWS load balancers use 60 s, Traefik 90 s, Caddy 120 s.
const KEEP_ALIVE: Duration = Duration::from_secs(130);

/// How long a connection stays open without acknowledging sent data. actix sets no limit.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// How far a download may be ahead of its connection, for fewer and larger writes.
const WRITE_BUFFER: usize = 128 << 10;

/// A running instance.
pub struct Running {
    pub address: SocketAddr,
    pub ctx: domain::Context,
    pub ready: Ready,
    pub setup: background::SetupLink,
    server: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
    background: Vec<tokio::task::AbortHandle>,
    /// The directory is deleted when dropped, because the server has only weak references.
    pub assets: Arc<Assets>,
}

/// The context of all actions, from the configuration. Opens no connection yet.
pub fn context(config: Config) -> anyhow::Result<domain::Context> {
    let runtime = tokio::runtime::Handle::current();
    let db = postgres::Pool::new(&config.database_url, &runtime);
    let redis = redis::Redis::new(&config.redis, &runtime).context("REDIS_URL")?;
    let (for_db, for_redis) = (db.clone(), redis.clone());
    let health = health::Board::new(&config, Arc::new(move || for_db.usage()), Arc::new(move || for_redis.usage()));
    let downloads = domain::slots::Slots::new("downloads", config.download_limit);
    Ok(domain::Context {
        s3: s3::Store::new(&config.s3),
        upload_memory: uploads::MemoryLimit::new(&config.upload),
        transfer_counters: domain::transfer_counters::TransferCounters::default(),
        config: Arc::new(config),
        db,
        redis,
        signer: domain::signing::Signer::default(),
        sign_ins: domain::sign_in::Admission::default(),
        downloads,
        previews: domain::slots::Slots::new("previews", 32),
        exports: domain::slots::Slots::new("exports", 4),
        lookups: domain::slots::Slots::new("session lookups", domain::limits::MAX_LOOKUPS),
        scans: domain::slots::Slots::new("searches and counts", domain::limits::MAX_SCANS),
        sampling: domain::keyspace::Sampling::default(),
        open_bodies: domain::objects::OpenBodies::default(),
        read_log: domain::objects::ReadLog::default(),
        cache: domain::cache::Cache::new(domain::cache_namespaces()),
        last_counts: domain::buckets::LastCounts::default(),
        health,
        session_cache: domain::sessions::SessionCache::default(),
        rate_counts: domain::limits::LocalCounts::default(),
        tasks: TaskTracker::new(),
        runtime,
    })
}

/// Binds the listener, starts the background tasks, and serves requests until [`Running::stop`].
pub async fn start(mut config: Config) -> anyhow::Result<Running> {
    let listener = TcpListener::bind(config.bind).with_context(|| format!("BIND={}", config.bind))?;
    let address = listener.local_addr()?;
    // The actual port, if the configured one was 0.
    config.bind = address;
    // Inherited by every connection: closes it if the peer acknowledges no data for this long.
    socket2::SockRef::from(&listener).set_tcp_user_timeout(Some(SEND_TIMEOUT)).context("TCP_USER_TIMEOUT")?;
    let ctx = context(config)?;
    let assets = Arc::new(Assets::write().with_context(|| {
        format!("The static files cannot be written to {}. Set TMPDIR to another directory", std::env::temp_dir().display())
    })?);
    let meter = Meter::new()?;
    let ready = Ready::default();
    let setup = background::SetupLink::default();
    let background = background::start(&ctx, &ready, &setup, address);
    let directory = assets.directory().to_owned();
    let (for_app, ready_for_app, for_static_files) = (ctx.clone(), ready.clone(), Arc::downgrade(&assets));
    let render_cache = web::Data::new(console::pages::health::RenderCache::default());
    let history_cache = web::Data::new(console::pages::health::service::HistoryCache::default());
    let overview = web::Data::new(console::pages::overview::RenderCache::default());
    let (connections, slots) = (meter.clone(), console::pages::health::StreamSlots::default());
    let per_client = connections::Connections::new(&ctx.config.trusted_proxies);
    let known_paths = console::http::routes::KnownPaths::of(&[console::ROUTES, api::ROUTES]);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(meter.clone()))
            .app_data(web::Data::new(slots.clone()))
            .app_data(render_cache.clone())
            .app_data(history_cache.clone())
            .app_data(overview.clone())
            .app_data(web::Data::new(for_app.clone()))
            .app_data(web::Data::new(ready_for_app.clone()))
            .wrap(from_fn(console::http::request_middleware::request_middleware))
            .configure(console::http::error::configure_errors)
            // The pages below `/health/` before `/health/{service}`.
            .configure(console::configure)
            .configure(api::configure)
            .service(console::http::static_files::service(&directory, for_static_files.clone()))
            .default_service(console::http::routes::unknown_path(known_paths.clone()))
    })
    .on_connect(move |stream, data| {
        // Dropped together with the connection.
        data.insert(connections.connected());
        data.insert(per_client.admit(stream));
    })
    .listen(listener)?
    .disable_signals()
    .shutdown_timeout(DRAIN.as_secs())
    .keep_alive(KEEP_ALIVE)
    .h1_write_buffer_size(WRITE_BUFFER)
    .run();
    let handle = server.handle();
    let serving = tokio::spawn(server);
    log::info!("listening on http://{address}");
    Ok(Running { address, ctx, ready, setup, server: handle, serving, background, assets })
}

/// Shows the URL of Larder and, before the first admin exists, the setup link.
pub type Announce = fn(url: &str, setup_link: Option<&str>);

/// Serves until SIGTERM or SIGINT; stops the embedded servers last. With embedded servers, `announce` is called when Larder is
/// ready.
pub async fn serve(config: Config, embedded: Option<Servers>, announce: Announce) -> anyhow::Result<()> {
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
    let is_embedded = embedded.is_some();
    let public_url = config.public_url.clone();
    let running = start(config).await?;
    if is_embedded {
        let link = running.setup.wait().await;
        announce(&public_url.unwrap_or_else(|| format!("http://{}", running.address)), link.as_deref());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    log::info!("stopping: no new requests, at most {} s for requests in progress", DRAIN.as_secs());
    tokio::select! {
        () = running.stop() => {}
        // A second signal stops immediately.
        _ = interrupt.recv() => log::warn!("stopped immediately; unfinished work is settled at the next start"),
    }
    if let Some(servers) = embedded {
        tokio::task::spawn_blocking(move || servers.stop()).await?;
    }
    log::info!("stopped");
    Ok(())
}

impl Running {
    /// Reports not ready, accepts no new connections, then waits for requests in progress.
    pub async fn stop(self) {
        self.ready.set(false);
        if self.ctx.config.environment == Environment::Production {
            // Load balancers poll /readyz about once a second and must see the change before the listener closes.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        self.server.stop(true).await;
        for task in &self.background {
            task.abort();
        }
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(2), health::save_all(&self.ctx)).await {
            log::info!("the last minute of the health history could not be written: {error}");
        }
        self.ctx.tasks.close();
        if tokio::time::timeout(Duration::from_secs(3), self.ctx.tasks.wait()).await.is_err() {
            log::warn!("some tasks did not finish in time; unfinished work is settled at the next start");
        }
        let _ = self.serving.await;
    }
}
