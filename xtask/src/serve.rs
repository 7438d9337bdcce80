//! A static file server for the page: this machine only, reading only.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How many ports beyond the wanted one are tried.
const PORTS: u16 = 100;

/// The longest request head that is read.
const HEAD_BYTES: u64 = 16 * 1024;

pub struct Server {
    listener: TcpListener,
    /// The served folder, with symbolic links resolved.
    folder: Arc<Path>,
}

impl Server {
    /// Listens on `port` of 127.0.0.1, or on the next free one after it; 0 means any.
    pub fn bind(folder: PathBuf, port: u16) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("cannot serve {}", folder.display()))?;
        for port in port..=port.saturating_add(PORTS) {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(listener) => {
                    return Ok(Self { listener, folder: folder.into() });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot listen on 127.0.0.1:{port}"));
                }
            }
        }
        bail!("the ports from {port} on are all taken; choose another with --port")
    }

    pub fn url(&self) -> Result<String> {
        Ok(format!("http://{}/", self.listener.local_addr()?))
    }

    /// Answers requests until the process ends, each connection on a thread of its own.
    pub fn run(self) -> ! {
        loop {
            if let Ok((stream, _)) = self.listener.accept() {
                let folder = Arc::clone(&self.folder);
                // A browser that hangs up in mid-answer is its own business.
                std::thread::spawn(move || answer(stream, &folder).ok());
            }
        }
    }
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let mut lines = BufReader::new(stream.try_clone()?.take(HEAD_BYTES)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head must be read, or closing the connection would cut off the answer.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}

    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !matches!(method, "GET" | "HEAD") {
        return respond(&mut stream, "405 Method Not Allowed", "text/plain", b"Only GET and HEAD.\n", true);
    }
    let file = locate(folder, target).and_then(|path| Some((fs::read(&path).ok()?, media_type(&path))));
    match file {
        Some((body, media_type)) => respond(&mut stream, "200 OK", media_type, &body, method == "GET"),
        None => respond(&mut stream, "404 Not Found", "text/plain", b"Not found.\n", method == "GET"),
    }
}

fn respond(
    stream: &mut TcpStream,
    status: &str,
    media_type: &str,
    body: &[u8],
    with_body: bool,
) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nCache-Control: no-cache\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )?;
    if with_body {
        stream.write_all(body)?;
    }
    stream.flush()
}

/// The file under `folder` that a request target names; nothing outside it, whatever the target says.
fn locate(folder: &Path, target: &str) -> Option<PathBuf> {
    let path = percent_decode(target.split(['?', '#']).next()?.strip_prefix('/')?)?;
    let mut file = folder.to_path_buf();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        // Backslashes and colons are separators and drives on Windows.
        if part == ".." || part.contains(['\\', ':', '\0']) {
            return None;
        }
        file.push(part);
    }
    if file.is_dir() {
        file.push("index.html");
    }
    // A symbolic link may still lead outside.
    file.canonicalize().ok().filter(|file| file.starts_with(folder))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (hex_digit(rest.next()?)? << 4) | hex_digit(rest.next()?)?,
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder to serve, and a file beside it that must stay out of reach.
    fn site(test: &str) -> PathBuf {
        let top = crate::process::root().join("target/serve-tests").join(test);
        let folder = top.join("site");
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(folder.join("data")).unwrap();
        fs::write(top.join("secret"), "secret").unwrap();
        fs::write(folder.join("index.html"), "<title>page</title>").unwrap();
        fs::write(folder.join("a b.wasm"), "\0asm").unwrap();
        folder.canonicalize().unwrap()
    }

    /// The head and the body of the answer to one request.
    fn ask(url: &str, request: &str) -> (String, String) {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn files_are_served_with_their_types() {
        let server = Server::bind(site("types"), 0).unwrap();
        let url = server.url().unwrap();
        std::thread::spawn(|| server.run());

        let (head, body) = ask(&url, "GET /?a=1");
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("text/html"), "{head}");
        assert_eq!(body, "<title>page</title>");

        let (head, body) = ask(&url, "GET /a%20b.wasm");
        assert!(head.contains("Content-Type: application/wasm\r\nContent-Length: 4"), "{head}");
        assert_eq!(body, "\0asm");

        let (head, body) = ask(&url, "HEAD /index.html");
        assert!(head.contains("Content-Length: 19") && body.is_empty(), "{head}");
        assert!(ask(&url, "GET /nothing").0.starts_with("HTTP/1.1 404"));
        assert!(ask(&url, "GET /data").0.starts_with("HTTP/1.1 404"));
        assert!(ask(&url, "POST /").0.starts_with("HTTP/1.1 405"));
    }

    #[test]
    fn nothing_outside_the_folder_is_reached() {
        let folder = site("outside");
        #[cfg(unix)]
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        assert!(locate(&folder, "/index.html").is_some());
        for target in [
            "/../secret",
            "/%2e%2e/secret",
            "/data/../../secret",
            "/..%2fsecret",
            "/..\\secret",
            "/link",
            "secret",
            "/%zz",
            "",
        ] {
            assert_eq!(locate(&folder, target), None, "{target}");
        }
    }

    #[test]
    fn a_taken_port_gives_way_to_the_next() {
        let folder = site("ports");
        let first = Server::bind(folder.clone(), 0).unwrap();
        let taken = first.listener.local_addr().unwrap().port();
        let second = Server::bind(folder, taken).unwrap();
        assert!(second.listener.local_addr().unwrap().port() > taken);
    }
}
