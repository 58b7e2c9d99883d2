//! nginx with `auth_request`, by the lines of the README as they stand there.

use tempfile::TempDir;

use super::asking::{ask, get};
use super::backend::Backend;
use super::program::{Running, free, installed, snippet};
use crate::support::Cluster;

const POLICIES: &str = "[policy.api]\nlimit = \"200/hour\"\n";

/// What the comment in the README's lines asks for.
const SETTINGS: &str = "\
[http]
listen = \"127.0.0.1:0\"
deny_status = 403
key_from = \"header:x-api-key\"
";

#[tokio::test]
async fn nginx_lets_as_many_through_as_the_limit_says() {
    let backend = Backend::start();
    let cluster = Cluster::start_with(3, 1, POLICIES, SETTINGS).await;
    let dir = TempDir::new().unwrap();
    let at = free(41);
    let lines = snippet("nginx").replace("127.0.0.1:7480", &cluster.http(1).to_string());
    let place = dir.path().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|it| format!("{it}_temp_path {place}/{it};"));
    let config = format!(
        "daemon off; master_process off; pid {place}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{\naccess_log off; {}\nupstream backend {{ server {}; }}\n\
         server {{\nlisten {at};\n{lines}\n}}\n}}\n",
        temporary.join(" "),
        backend.address(),
    );
    let file = dir.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut nginx = installed("debian/usr/sbin/nginx");
    nginx.args(["-e", "stderr", "-p"]).arg(dir.path());
    let _nginx = Running::start(nginx.arg("-c").arg(&file), at, "/");
    assert_eq!(backend.reached(), 0, "nothing passes without a key");

    let one = &["X-Api-Key: one"][..];
    for n in 0..200 {
        let reply = match n % 3 {
            0 => get(at, "/", one),
            // The client's own query, method and body are no part of the check.
            1 => get(at, "/some/where?key=two&cost=100", one),
            _ => ask(at, "POST /", one, "{\"key\": \"two\"}"),
        };
        assert_eq!(reply.status, 200, "{n}: {reply:?}");
    }
    for path in ["/", "/?key=two"] {
        assert_eq!(get(at, path, one).status, 403);
    }
    assert_eq!(backend.reached(), 200);
    assert_eq!(get(at, "/", &["X-Api-Key: two"]).status, 200);
    assert_eq!(
        get(at, "/limit", one).status,
        404,
        "the check itself is not for clients"
    );
}
