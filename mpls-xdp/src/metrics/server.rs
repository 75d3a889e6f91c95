//! The exposition over HTTP: one scrape at a time, and nothing that a client could hold up.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use super::{Exposition, Format};
use crate::filter::{FilterError, Folders};

const PATH: &str = "/metrics";
/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// Bytes of a request's head; the least that hyper takes.
const HEAD: usize = 8192;
const HEADERS: usize = 64;
/// How long a client may take to ask, and to read the answer as well.
const TO_ASK: Duration = Duration::from_secs(5);
const IN_ALL: Duration = Duration::from_secs(30);
/// How long answers that are under way may take when the server is to end.
const TO_END: Duration = Duration::from_secs(5);
/// Before the next try when the kernel has no descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    folders: Folders,
    /// What the last scrape failed with; held while one is under way.
    failed: Mutex<Option<String>>,
    report: fn(&FilterError),
}

impl Server {
    /// A server of the filter with these folders. `report` is told when scrapes begin to fail.
    pub fn new(folders: Folders, report: fn(&FilterError)) -> Self {
        Self { folders, failed: Mutex::new(None), report }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.uri().path(), request.method()) {
            (PATH, &Method::GET) => self.metrics(Self::format(request)).await,
            ("/", &Method::GET) => response(
                StatusCode::OK,
                "text/html; charset=utf-8",
                format!("<!doctype html><title>mpls-xdp</title><a href=\"{PATH}\">metrics</a>\n"),
            ),
            (PATH | "/", _) => {
                let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned());
                refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
                refusal
            }
            _ => plain(StatusCode::NOT_FOUND, format!("the metrics are at {PATH}")),
        }
    }

    fn format(request: &Request<Incoming>) -> Format {
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        Format::accepted(accept.unwrap_or_default())
    }

    async fn metrics(&self, format: Format) -> Response<Full<Bytes>> {
        let mut failed = self.failed.lock().await;
        let folders = self.folders.clone();
        // The kernel is asked by system calls that block.
        let scrape =
            spawn_blocking(move || Exposition::take(&folders).map(|taken| taken.write(format)));
        match scrape.await {
            Ok(Ok(text)) => {
                *failed = None;
                response(StatusCode::OK, format.content_type(), text)
            }
            Ok(Err(error)) => {
                let text = error.to_string();
                if failed.as_ref() != Some(&text) {
                    (self.report)(&error);
                }
                *failed = Some(text.clone());
                plain(StatusCode::SERVICE_UNAVAILABLE, text)
            }
            Err(panic) => plain(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()),
        }
    }
}

/// Listens, tells `ready` where, and answers until `end` is there; answers under way are finished.
///
/// # Errors
///
/// When it cannot listen.
pub async fn serve(
    address: SocketAddr,
    server: Server,
    ready: impl FnOnce(SocketAddr),
    end: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    ready(listener.local_addr()?);
    let server = Arc::new(server);
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept(&listener, &server, &mut connections) => {}
        () = end => {}
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Whoever reads that slowly does without the rest.
    let _ = timeout(TO_END, all).await;
    Ok(())
}

async fn accept(listener: &TcpListener, server: &Arc<Server>, connections: &mut JoinSet<()>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(server);
                connections.spawn(async move {
                    let _permit = permit;
                    // A client that is slow or talks nonsense is no trouble of ours.
                    let _ = timeout(IN_ALL, connection(stream, &server)).await;
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, server: &Server) -> hyper::Result<()> {
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(server.answer(&request).await) });
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        .timer(TokioTimer::new())
        .header_read_timeout(TO_ASK)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn plain(status: StatusCode, line: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", line + "\n")
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
