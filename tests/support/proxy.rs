//! A misbehaving store: a TCP proxy in front of the real one. One request per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The fault applied to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// No data is transferred any more, in either direction.
    Freeze,
    /// This status, with an error document of the store.
    Answer(u16),
    /// The response to the first attempt is lost, and every further attempt receives 503.
    LoseThenRefuse,
    /// Half of the request body reaches the store.
    CutRequest,
    /// Half of the response body is returned; nothing at all if it has no body.
    CutAnswer,
    /// One bit of the data to store is changed.
    AlterBody,
    /// One digit of every returned ETag is changed.
    AlterEtag,
}

/// Which requests are affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    Third,
    /// Requests that change data.
    Writes,
}

#[derive(Clone, Copy)]
struct Rule {
    fault: Fault,
    which: Which,
}

pub struct Proxy {
    pub endpoint: String,
    rule: watch::Sender<Rule>,
    affected: Arc<AtomicUsize>,
}

struct Request {
    head: String,
    /// The part of the body received with the head, and its total length.
    begun: Vec<u8>,
    length: usize,
}

impl Proxy {
    /// In front of `http://host:port`.
    pub async fn before(endpoint: &str) -> Self {
        let store: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (rule, heard) = watch::channel(Rule { fault: Fault::None, which: Which::All });
        let (counter, affected) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let strikes = affected.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (heard, counter, strikes) = (heard.clone(), counter.clone(), strikes.clone());
                // A client that disconnects has received enough.
                tokio::spawn(async move { drop(serve(client, store, heard, &counter, &strikes).await) });
            }
        });
        Self { endpoint, rule, affected }
    }

    pub fn set(&self, fault: Fault, which: Which) {
        self.affected.store(0, Ordering::Relaxed);
        self.rule.send_replace(Rule { fault, which });
    }

    /// Forwards requests unchanged.
    pub fn heal(&self) {
        self.rule.send_replace(Rule { fault: Fault::None, which: Which::All });
    }

    /// Number of requests affected by the fault.
    pub fn affected(&self) -> usize {
        self.affected.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut client: TcpStream,
    store: SocketAddr,
    mut heard: watch::Receiver<Rule>,
    counter: &AtomicUsize,
    strikes: &AtomicUsize,
) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client).await? else { return Ok(()) };
    let rule = *heard.borrow();
    let is_due = match rule.which {
        Which::All => true,
        Which::Third => counter.fetch_add(1, Ordering::Relaxed).is_multiple_of(3),
        Which::Writes => ["PUT", "POST", "DELETE"].iter().any(|method| request.head.starts_with(method)),
    };
    let fault = match rule.fault {
        _ if !is_due => Fault::None,
        Fault::LoseThenRefuse if header(&request.head, "amz-sdk-request").is_some_and(|sent| !sent.contains("attempt=1")) => {
            Fault::Answer(503)
        }
        fault => fault,
    };
    let changes_nothing =
        matches!(fault, Fault::CutRequest | Fault::AlterBody) && (request.length == 0 || !request.head.starts_with("PUT"));
    if fault != Fault::None && !changes_nothing {
        strikes.fetch_add(1, Ordering::Relaxed);
    }
    let thawed = |heard: &mut watch::Receiver<Rule>| {
        let mut heard = heard.clone();
        async move { drop(heard.wait_for(|rule| rule.fault != Fault::Freeze).await) }
    };
    if let Fault::Answer(status) = fault {
        return refuse(&mut client, request, status).await;
    }
    thawed(&mut heard).await;
    let mut store = TcpStream::connect(store).await?;
    store.write_all(request.head.as_bytes()).await?;
    let (mut chunk, mut left, mut first) = (request.begun, request.length, true);
    let stop_at = if fault == Fault::CutRequest && !changes_nothing { request.length / 2 } else { 0 };
    while left > stop_at {
        if chunk.is_empty() {
            chunk.resize(64 << 10, 0);
            let read = client.read(&mut chunk).await?;
            chunk.truncate(read);
        }
        chunk.truncate(left - stop_at);
        if chunk.is_empty() {
            return Ok(());
        }
        if fault == Fault::AlterBody && !changes_nothing && std::mem::take(&mut first) {
            chunk[0] ^= 1;
        }
        thawed(&mut heard).await;
        store.write_all(&chunk).await?;
        left = left.saturating_sub(chunk.len());
        chunk.clear();
    }
    if left > 0 {
        return Ok(());
    }
    let (head, begun) = read_head(&mut store).await?;
    let length = header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
    let bodiless = request.head.starts_with("HEAD") || length == Some(0);
    if fault == Fault::LoseThenRefuse || (fault == Fault::CutAnswer && bodiless) {
        return Ok(());
    }
    let mut most = if fault == Fault::CutAnswer { length.map_or(100, |length| length / 2) } else { usize::MAX };
    let alter = fault == Fault::AlterEtag;
    client.write_all(&if alter { altered(&head, "etag: \"") } else { head }.into_bytes()).await?;
    let mut chunk = begun;
    loop {
        thawed(&mut heard).await;
        chunk.truncate(most);
        most -= chunk.len();
        if alter && let Ok(text) = std::str::from_utf8(&chunk) {
            chunk = altered(text, "<etag>&#34;").into_bytes();
        }
        client.write_all(&chunk).await?;
        chunk.resize(64 << 10, 0);
        let read = store.read(&mut chunk).await?;
        chunk.truncate(read);
        if read == 0 || most == 0 {
            return Ok(());
        }
    }
}

/// Asks the store to close the connection after the response, and answers `Expect: 100-continue` itself.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let Ok((head, begun)) = read_head(client).await else { return Ok(None) };
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let kept = head.split_inclusive("\r\n").filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("expect:") && !line.starts_with("connection:") && line != "\r\n"
    });
    let head = kept.collect::<String>() + "Connection: close\r\n\r\n";
    Ok(Some(Request { head, begun, length }))
}

/// The head, and the part of the body received with it.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// The text with a different digit after every `mark`.
fn altered(text: &str, mark: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut bytes = text.as_bytes().to_vec();
    for (at, _) in lower.match_indices(mark) {
        if let Some(digit) = bytes.get_mut(at + mark.len()) {
            *digit = if *digit == b'0' { b'1' } else { b'0' };
        }
    }
    String::from_utf8(bytes).unwrap()
}

async fn refuse(client: &mut TcpStream, request: Request, status: u16) -> std::io::Result<()> {
    let mut left = request.length.saturating_sub(request.begun.len());
    let mut chunk = vec![0; 64 << 10];
    while left > 0 {
        match client.read(&mut chunk).await? {
            0 => return Ok(()),
            read => left = left.saturating_sub(read),
        }
    }
    let code = if status == 503 { "SlowDown" } else { "InternalError" };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>As the test wants it.</Message></Error>");
    let body = if request.head.starts_with("HEAD") { String::new() } else { body };
    let head =
        format!("HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    client.write_all((head + &body).as_bytes()).await
}
