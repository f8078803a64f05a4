//! Where users log in, with a database of two places.

use grantlog::ids::SubjectId;

use super::{alerts, watch};
use crate::flow;
use crate::harness::TestServer;

/// A string, a map's size, a double and so on, as an MMDB file writes them (MMDB specification 2.0, "Data Field Format").
fn text(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29);
    out.push(2 << 5 | u8::try_from(text.len()).unwrap());
    out.extend_from_slice(text.as_bytes());
}

fn map(out: &mut Vec<u8>, members: u8) {
    out.push(7 << 5 | members);
}

fn number(out: &mut Vec<u8>, name: &str, number: u16) {
    text(out, name);
    out.push(5 << 5 | 2);
    out.extend_from_slice(&number.to_be_bytes());
}

fn place(out: &mut Vec<u8>, (latitude, longitude): (f64, f64)) {
    map(out, 1);
    text(out, "location");
    map(out, 3);
    for (name, degrees) in [("latitude", latitude), ("longitude", longitude)] {
        text(out, name);
        out.push(3 << 5 | 8);
        out.extend_from_slice(&degrees.to_be_bytes());
    }
    number(out, "accuracy_radius", 10);
}

/// A database with the lower half of all addresses in one place and the upper half in another.
fn database(lower: (f64, f64), upper: (f64, f64)) -> Vec<u8> {
    let (mut data, mut metadata) = (Vec::new(), Vec::new());
    place(&mut data, lower);
    let second = u32::try_from(data.len()).unwrap();
    place(&mut data, upper);
    let mut out = Vec::new();
    // One node of the tree, whose two records point into the data, after 16 bytes of zeros.
    for offset in [0, second] {
        out.extend_from_slice(&(1 + 16 + offset).to_be_bytes()[1..]);
    }
    out.extend_from_slice(&[0; 16]);
    out.extend(data);
    map(&mut metadata, 9);
    for (name, value) in [
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
        ("ip_version", 4),
        ("record_size", 24),
    ] {
        number(&mut metadata, name, value);
    }
    // The one is an unsigned integer of 32 bits, the other, of an extended type, one of 64.
    text(&mut metadata, "node_count");
    metadata.extend_from_slice(&[6 << 5 | 4, 0, 0, 0, 1]);
    text(&mut metadata, "build_epoch");
    metadata.extend_from_slice(&[8, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
    text(&mut metadata, "database_type");
    text(&mut metadata, "Test-City");
    text(&mut metadata, "description");
    map(&mut metadata, 0);
    text(&mut metadata, "languages");
    metadata.extend_from_slice(&[0, 4]);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    out.extend(metadata);
    out
}

/// A browser whose requests come from an address.
fn browser_at(address: &str) -> reqwest::Client {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("x-forwarded-for", address.parse().unwrap());
    reqwest::Client::builder()
        .cookie_store(true)
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_logs_in_on_two_continents_at_once_raises_an_alert() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cities.mmdb");
    std::fs::write(&file, database((52.5, 13.4), (-33.9, 151.2))).unwrap();
    let server = TestServer::start_with(|settings| {
        settings.geoip_database = Some(file);
        settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let query = flow::query(&flow::client_and_user(&server).await);
    flow::authorize(&server, &browser_at("10.0.0.1"), &query).await;
    flow::authorize(&server, &browser_at("20.0.0.1"), &query).await;
    watch(&server).await;
    assert!(alerts(&server, "impossible-travel").await.is_empty());
    flow::authorize(&server, &browser_at("200.0.0.1"), &query).await;
    watch(&server).await;
    let raised = alerts(&server, "impossible-travel").await;
    assert_eq!(raised.len(), 1);
    assert!(raised[0].1["about"]["subject"].is_string());
    assert_eq!(raised[0].1["evidence"].as_array().unwrap().len(), 2);
    // Neither place nor address is in the alert, and what the rule remembers is sealed.
    let states: Vec<Vec<u8>> = sqlx::query_scalar("SELECT state FROM grantlog.policy_states")
        .fetch_all(server.app.ledger.pool())
        .await
        .unwrap();
    assert!(!states.is_empty());
    for state in states {
        assert!(!String::from_utf8_lossy(&state).contains("52.5"));
    }
    assert!(!raised[0].1.to_string().contains("151.2"));

    // Where an erased user was last is remembered by nobody.
    let subject = raised[0].1["about"]["subject"].as_str().unwrap().to_owned();
    let remembered = async || -> String {
        let sealed: Vec<u8> =
            sqlx::query_scalar("SELECT state FROM grantlog.policy_states WHERE rule = 'impossible-travel'")
                .fetch_one(server.app.ledger.pool())
                .await
                .unwrap();
        let master = server.app.ledger.vault().master();
        let state = master.unwrap("policy state impossible-travel", &sealed).unwrap();
        String::from_utf8(state).unwrap()
    };
    let before = remembered().await;
    assert!(before.contains("151.2") && before.contains(&subject), "{before}");
    server
        .app
        .operations
        .erase_user(&TestServer::context(), SubjectId(subject.parse().unwrap()))
        .await
        .unwrap();
    watch(&server).await;
    let after = remembered().await;
    assert!(
        !after.contains("151.2") && !after.contains("52.5") && !after.contains(&subject),
        "{after}"
    );
}
