//! nginx in front of the store, configured for large bodies: the cheapest possible proxy.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::Running;

pub struct Nginx {
    process: Running,
    /// `http://127.0.0.1:<port>`
    pub base: String,
}

impl Nginx {
    pub fn start(store: &str, directory: &Path) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let authority = store.trim_start_matches("http://");
        let place = directory.display();
        let configuration = format!(
            "daemon off;
worker_processes auto;
pid {place}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    upstream store {{ server {authority}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        location / {{
            proxy_pass http://store;
            proxy_http_version 1.1;
            # The signature covers the store's own name.
            proxy_set_header Host {authority};
            proxy_set_header Connection \"\";
            proxy_request_buffering off;
            proxy_buffering off;
            # Its own 4 KiB and 16 KiB cost it twice the processor time.
            proxy_buffer_size 64k;
            proxy_buffers 8 64k;
            client_body_buffer_size 64k;
        }}
    }}
}}
"
        );
        let file = directory.join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let log = directory.join("nginx.log");
        let arguments = ["-e", "stderr", "-p", &place.to_string(), "-c", &file.display().to_string()];
        let mut process = Running::start("nginx", &arguments, &[], &log)?;
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if process.check().is_err() || began.elapsed() > Duration::from_secs(10) {
                bail!("nginx does not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { process, base: format!("http://127.0.0.1:{port}") })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
