//! `GET /admin/events`: the ledger as Server-Sent Events.

use std::time::Duration;

use grantlog::evidence::Sealer;
use reqwest::Response;
use serde_json::{Value, json};

use super::{happen, ledger};
use crate::harness::TestServer;
use crate::refusals::party;
use crate::token::{Party, text};
use crate::users::own_token;

/// A connection that is read event by event.
struct Reader {
    response: Response,
    unread: Vec<u8>,
}

/// An event of the stream.
#[derive(Debug)]
struct Told {
    id: Option<i64>,
    name: String,
    data: Value,
}

impl Reader {
    async fn open(party: &Party, token: &str, query: &str, last: Option<&str>) -> Response {
        let url = format!("{}{query}", party.server.url("/admin/events"));
        let mut request = party.http.get(url).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await.unwrap()
    }

    async fn new(party: &Party, token: &str, query: &str, last: Option<&str>) -> Self {
        let response = Self::open(party, token, query, last).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self {
            response,
            unread: Vec::new(),
        }
    }

    /// The next event; none where the connection has ended.
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                let told = parse(std::str::from_utf8(&block).unwrap());
                if told.is_some() {
                    return told;
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let chunk = chunk.await.expect("something comes").unwrap()?;
            self.unread.extend_from_slice(&chunk);
        }
    }

    /// The next position that is told without an event.
    async fn position(&mut self) -> i64 {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                let block = std::str::from_utf8(&block).unwrap();
                assert!(!block.contains("data:"), "{block}");
                let mut lines = block.lines();
                if let Some(id) = lines.find_map(|line| line.strip_prefix("id: ")) {
                    return id.parse().unwrap();
                }
            }
            let chunk = tokio::time::timeout(Duration::from_mins(1), self.response.chunk());
            let chunk = chunk.await.expect("something comes").unwrap().unwrap();
            self.unread.extend_from_slice(&chunk);
        }
    }

    /// The next event of the ledger.
    async fn event(&mut self) -> Told {
        loop {
            let told = self.next().await.expect("the connection lives");
            if told.name == "message" {
                return told;
            }
        }
    }
}

fn parse(block: &str) -> Option<Told> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    Some(Told {
        data: serde_json::from_str(&field("data")?).unwrap(),
        id: field("id").map(|id| id.parse().unwrap()),
        name: field("event").unwrap_or_else(|| "message".to_owned()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_reads_the_ledger_as_it_grows_and_resumes_where_the_connection_broke() {
    let (party, token) = party(TestServer::start().await).await;
    let sealer = Sealer::start(&party.server.app);
    let written = ledger(&party.server).await;
    let mut reader = Reader::new(&party, &token, "?since=0", None).await;
    for (position, name) in written.iter().take(5) {
        let told = reader.event().await;
        assert_eq!(
            (told.id, &told.data["event_type"]),
            (Some(*position), &json!(name))
        );
    }
    drop(reader);

    // From there on, and on to what happens meanwhile.
    let mut reader = Reader::new(&party, &token, "?since=0", Some("5")).await;
    let told = reader.event().await;
    assert_eq!(told.id, Some(6));
    happen(&party.server, &["meanwhile"]).await;
    let head = ledger(&party.server).await.last().unwrap().0;
    let mut last = told.id.unwrap();
    while last < head {
        let told = reader.event().await;
        assert_eq!(told.id, Some(last + 1), "in order, without a gap");
        last += 1;
    }
    loop {
        let told = reader.next().await.unwrap();
        if told.name == "checkpoint" && told.data["size"].as_i64().unwrap() >= head {
            assert!(told.id.is_none() && text(&told.data, "note").contains('—'));
            break;
        }
    }

    // Each reading is on the trail, with who read.
    let readings: Vec<(String, String)> = sqlx::query_as(
        "SELECT payload->>'after', metadata->>'actor' FROM grantlog.ledger_trail \
         WHERE event_type = 'LedgerRead' ORDER BY position",
    )
    .fetch_all(party.server.app.ledger.pool())
    .await
    .unwrap();
    let client = format!("client:{}", party.key);
    let expected = [("0".to_owned(), client.clone()), ("5".to_owned(), client)];
    assert_eq!(readings, expected);

    // Only what is asked for; a client's events are those of its grants, too.
    let query = format!(
        "?since=0&client={}&type=TokenIssued,ClientRegistered",
        party.client_id
    );
    let mut reader = Reader::new(&party, &token, &query, None).await;
    let (one, two) = (reader.event().await, reader.event().await);
    assert_eq!(one.data["event_type"], "ClientRegistered");
    assert_eq!(two.data["event_type"], "TokenIssued");
    for (query, last) in [
        ("?type=Nothing", None),
        ("?since=999999", None),
        ("", Some("x")),
        ("?client=no", None),
    ] {
        let refused = Reader::open(&party, &token, query, last).await;
        assert_eq!(refused.status(), 400, "{query}");
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["error"], "validation_error");
    }
    sealer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token_and_a_node_serves_only_so_many() {
    let server = TestServer::start_with(|settings| settings.event_stream_connections = 1).await;
    let (party, token) = party(server).await;
    let other = own_token(&party, "view-user").await;
    let refused = Reader::open(&party, &other, "", None).await;
    assert_eq!(refused.status(), 403);

    let mut reader = Reader::new(&party, &token, "", None).await;
    let refused = Reader::open(&party, &token, "", None).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    // The reading itself comes first, then the refusal; nothing that was recorded after the revocation does.
    while reader.event().await.data["event_type"] != "RequestRefused" {}
    let (status, _) = party.post("/oauth/revoke", &[("token", &token)]).await;
    assert_eq!(status, 200);
    let told = reader.next().await.unwrap();
    assert_eq!(
        (told.name.as_str(), &told.data["reason"]),
        ("end", &json!("token_invalid"))
    );
    assert!(reader.next().await.is_none());

    let token = own_token(&party, "admin").await;
    let mut reader = Reader::new(&party, &token, "?type=ScopeDefined", None).await;
    party.server.clock.advance(Duration::from_hours(25));
    happen(&party.server, &["late"]).await;
    let told = reader.next().await.unwrap();
    assert_eq!(
        (told.name.as_str(), &told.data["reason"]),
        ("end", &json!("token_expired"))
    );

    let token = own_token(&party, "admin").await;
    let mut reader = Reader::new(&party, &token, "", None).await;
    party.server.app.event_streams.close();
    while let Some(told) = reader.next().await {
        if told.name == "end" {
            assert_eq!(told.data["reason"], "server_stops");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_filter_lets_nothing_pass_is_told_how_far_it_is_and_goes_on_from_there() {
    let (party, token) = party(TestServer::start().await).await;
    let rare = "?since=0&type=SubjectKeyDestroyed";
    let mut reader = Reader::new(&party, &token, rare, None).await;
    let head = ledger(&party.server).await.last().unwrap().0;
    assert_eq!(reader.position().await, head);
    let resumed = head.to_string();
    let mut reader = Reader::new(&party, &token, "", Some(&resumed)).await;
    happen(&party.server, &["later"]).await;
    assert_eq!(reader.event().await.id, Some(head + 1));
}
