//! One address in front of several instances, like a load balancer.

use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub struct TcpSwitch {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    behind: Arc<Mutex<String>>,
    through: Arc<Mutex<JoinSet<()>>>,
}

impl TcpSwitch {
    pub async fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let behind = Arc::new(Mutex::new(to.to_owned()));
        let through = Arc::new(Mutex::new(JoinSet::new()));
        let (leads_to, passing) = (behind.clone(), through.clone());
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let to = leads_to.lock().unwrap().replace("http://", "");
                passing.lock().unwrap().spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        Self { base, behind, through }
    }

    /// Sets the target of new connections.
    pub fn switch_to(&self, base: &str) {
        base.clone_into(&mut self.behind.lock().unwrap());
    }

    /// Ends all open connections.
    pub fn close_connections(&self) {
        self.through.lock().unwrap().abort_all();
    }
}
