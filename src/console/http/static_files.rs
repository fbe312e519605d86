//! Serves the static files.

use std::path::Path;
use std::sync::Weak;

use actix_files::Files;
use actix_web::dev::{HttpServiceFactory, ServiceRequest, ServiceResponse, fn_service};
use actix_web::http::header::VARY;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{guard, web};

use super::finish::finish;
use super::{error, routes};
use crate::console::view::assets::{Assets, FILES};

/// Serves only the files: no directory listing, no other method. During a rolling update, a page of one version may
/// request its styles from a replica of another version. It receives that replica's files, which are not cached.
pub fn service(directory: &Path, assets: Weak<Assets>) -> impl HttpServiceFactory + use<> {
    let missing = fn_service(|req: ServiceRequest| async {
        let (req, _) = req.into_parts();
        let page = error::not_found(req.clone()).await;
        Ok(ServiceResponse::new(req, page))
    });
    let files = Files::new("/", directory)
        .use_etag(false)
        .use_last_modified(false)
        .disable_content_disposition()
        .prefer_utf8(true)
        .try_compressed()
        .path_filter(|path, _| FILES.iter().any(|(name, _)| path == Path::new(name)))
        .default_handler(missing)
        .guard(guard::Any(guard::Get()).or(guard::Head()));
    web::scope("/static/{version}")
        .service(files)
        .default_service(routes::other_methods("GET, HEAD, OPTIONS"))
        .wrap(DefaultHeaders::new().add((VARY, "accept-encoding")))
        .wrap(from_fn(move |req, next| {
            let assets = assets.clone();
            async move {
                restore(assets, &req).await;
                finish(&[], req, next).await
            }
        }))
}

/// Writes the requested file again if it was deleted.
async fn restore(assets: Weak<Assets>, req: &ServiceRequest) {
    let requested = req.path().rsplit('/').next().unwrap_or_default();
    let Some((name, _)) = FILES.iter().find(|(name, _)| *name == requested) else { return };
    // Dropped during shutdown.
    let Some(assets) = assets.upgrade() else { return };
    match web::block(move || assets.restore(name)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::error!("the static files cannot be restored: {error}"),
        Err(error) => log::error!("the static files cannot be restored: {error}"),
    }
}
