//! Somebody else's receiver (the crate easyssf-receiver): it finds the transmitter by its metadata, creates its stream,
//! verifies it and every token, and answers for itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use easyssf_receiver::config::SsfReceiverConfig;
use easyssf_receiver::event::SsfEventContext;
use easyssf_receiver::http::{SsfHttpClient, SsfHttpRequest, SsfHttpResponse};
use easyssf_receiver::push::SsfPushHandler;
use easyssf_receiver::receiver::SsfHealthStatus;
use easyssf_receiver::revocation::SsfTokenClaims;
use easyssf_receiver::session::subject_claims_matcher;
use easyssf_receiver::stream::SsfStreamRegistrarState;
use easyssf_receiver::transmitter::SsfTransmitter;
use easyssf_receiver::{BoxError, SsfReceiver};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::{
    ACCOUNT_DISABLED, ACCOUNT_ENABLED, ACCOUNT_PURGED, CREDENTIAL_CHANGE, Receiver, SESSION_REVOKED, Stage,
    VERIFICATION, claims_of, text,
};
use crate::harness::{TestServer, serve};

const HEADER: &str = "Bearer what-the-application-expects";

/// The crate's calls, by the HTTP client of these tests.
struct Http(reqwest::Client);

#[async_trait::async_trait]
impl SsfHttpClient for Http {
    async fn execute(&self, request: SsfHttpRequest) -> Result<SsfHttpResponse, BoxError> {
        let mut sent = self.0.request(request.method.parse()?, request.url);
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        let answer = sent.body(request.body.unwrap_or_default()).send().await?;
        Ok(SsfHttpResponse::new(
            answer.status().as_u16(),
            answer.text().await?,
        ))
    }
}

/// What an application with the crate does, and what it has heard.
struct Application {
    receiver: Arc<SsfReceiver>,
    heard: Arc<Mutex<Vec<SsfEventContext>>>,
    pushed: Arc<Mutex<Vec<(u16, String)>>>,
}

impl Application {
    /// Its receiver has found the transmitter and has a stream.
    async fn start(client: &Receiver<'_>, delivery_method: &str) -> Self {
        let handler: Arc<OnceCell<SsfPushHandler>> = Arc::default();
        let pushed: Arc<Mutex<Vec<(u16, String)>>> = Arc::default();
        let state = (handler.clone(), pushed.clone());
        let router = Router::new().route("/ssf/push", post(take)).with_state(state);
        let endpoint = serve(|address| (format!("http://{address}/ssf/push"), router)).await;
        let issuer = &client.stage.server.base;
        let events = [
            "CaepSessionRevoked",
            "CaepCredentialChange",
            "RiscAccountDisabled",
            "RiscAccountEnabled",
            "RiscAccountPurged",
        ];
        let config = json!({
            "transmitter-issuer": issuer,
            "delivery-method": delivery_method,
            "oauth2": {"token-uri": format!("{issuer}/oauth/token"), "client-id": client.client.client_id,
                       "client-secret": client.client.client_secret, "scopes": ["ssf.manage"]},
            "stream": {"management": "receiver", "delete-on-shutdown": true, "description": "Sign-outs",
                       "events-requested": events},
            "push": {"expected-auth-header": HEADER, "delivery-endpoint-url": endpoint},
            "poll": {"auto-startup": false, "max-events": 1},
        });
        let config: SsfReceiverConfig = serde_json::from_value(config).unwrap();
        let heard: Arc<Mutex<Vec<SsfEventContext>>> = Arc::default();
        // The first that comes cannot be dealt with, so it has to come again.
        let (failed, ears) = (AtomicBool::new(false), heard.clone());
        let receiver = SsfReceiver::builder(config)
            .http_client(Http(reqwest::Client::new()))
            .handler(move |context: SsfEventContext| {
                let told = !context.has_event(VERIFICATION);
                let fails = told && !failed.swap(true, Ordering::SeqCst);
                if told && !fails {
                    ears.lock().unwrap().push(context);
                }
                async move {
                    if fails {
                        return Err("its database is away".into());
                    }
                    Ok(())
                }
            })
            .build()
            .unwrap();
        let receiver = Arc::new(receiver);
        assert!(handler.set(receiver.push_handler()).is_ok());
        receiver.start();
        let application = Self {
            receiver,
            heard,
            pushed,
        };
        until(|| {
            let registrar = application.transmitter().stream_registrar().unwrap();
            assert_ne!(
                registrar.state(),
                SsfStreamRegistrarState::Failed,
                "{:?}",
                registrar.last_error()
            );
            registrar.state() == SsfStreamRegistrarState::Registered
        })
        .await;
        application
    }

    fn transmitter(&self) -> &SsfTransmitter {
        &self.receiver.transmitters().all()[0]
    }

    /// SSF 1.0 §8.1.4: a state that comes back.
    async fn verify(&self) {
        let (transmitter, stream) = (
            self.transmitter(),
            self.transmitter().receiver_stream().stream_id(),
        );
        let verification = transmitter.stream_verification();
        let client = transmitter.stream_client().unwrap();
        let asked = verification.request_verification(client, &stream.unwrap()).await;
        asked.unwrap();
        for _ in 0..1200 {
            self.poll().await;
            if !verification.is_pending() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no verification came: {:?}", self.pushed.lock().unwrap());
    }

    /// Where it polls: asks once.
    async fn poll(&self) {
        if let Some(poller) = self.transmitter().poller() {
            poller.poll_now().await.unwrap();
        }
    }

    /// Waits for so many events; their types, in the order in which they came.
    async fn kinds(&self, count: usize) -> Vec<String> {
        for _ in 0..1200 {
            self.poll().await;
            let heard = self.heard.lock().unwrap().clone();
            if heard.len() >= count {
                return heard.iter().flat_map(SsfEventContext::event_types).collect();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{:?}", self.pushed.lock().unwrap());
    }

    fn event(&self, number: usize) -> SsfEventContext {
        self.heard.lock().unwrap()[number].clone()
    }

    /// Whether its resource servers would refuse a token of this login.
    async fn refuses(&self, id_token: &Map<String, Value>, session: &str) -> bool {
        let claim = |name: &str| id_token[name].as_str().map(str::to_owned);
        let issued_at = Duration::from_secs(id_token["iat"].as_u64().unwrap());
        let claims = SsfTokenClaims {
            issuer: claim("iss"),
            subject: claim("sub"),
            session_id: Some(session.to_owned()),
            issued_at: Some(SystemTime::UNIX_EPOCH + issued_at),
        };
        let store = self.receiver.token_revocation_store();
        easyssf_receiver::revocation::SsfTokenRevocationStore::is_revoked(&store, &claims)
            .await
            .unwrap()
    }
}

type Endpoint = (Arc<OnceCell<SsfPushHandler>>, Arc<Mutex<Vec<(u16, String)>>>);

/// RFC 8935 §2, as the crate answers.
async fn take(
    State((handler, pushed)): State<Endpoint>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap());
    let answer = handler
        .get()
        .unwrap()
        .handle(authorization, body.as_bytes())
        .await;
    pushed.lock().unwrap().push((answer.status, body));
    let status = StatusCode::from_u16(answer.status).unwrap();
    (status, answer.body.unwrap_or_default())
}

async fn until(done: impl Fn() -> bool) {
    for _ in 0..1200 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it does not come about");
}

async fn everything_happens(stage: &Stage) {
    let (context, operations) = (TestServer::context(), &stage.server.app.operations);
    let password = "a new battery staple".to_owned();
    operations
        .set_password(&context, stage.subject, password)
        .await
        .unwrap();
    operations
        .disable_user(&context, stage.subject, "private words")
        .await
        .unwrap();
    operations.enable_user(&context, stage.subject).await.unwrap();
    operations.erase_user(&context, stage.subject).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_receiver_finds_the_transmitter_and_understands_every_signal_by_push_and_by_poll() {
    let stage = Stage::new().await;
    let (first, second) = (
        stage.receiver(json!({})).await,
        stage.receiver(json!({"subject_type": "pairwise"})).await,
    );
    let push = Application::start(&first, "push").await;
    let poll = Application::start(&second, "poll").await;
    let mut logins = Vec::new();
    for (client, application) in [(&first, &push), (&second, &poll)] {
        application.verify().await;
        let tokens = client.log_in().await;
        logins.push(claims_of(text(&tokens, "id_token")).as_object().unwrap().clone());
    }

    // One login ends: both know which, of whom, and that no other did.
    stage.log_out().await;
    for (application, login) in [&push, &poll].into_iter().zip(&logins) {
        assert_eq!(application.kinds(1).await, [SESSION_REVOKED]);
        let event = application.event(0);
        let sid = login["sid"].as_str().unwrap();
        assert_eq!(event.subject().subject(), login["sub"].as_str());
        assert_eq!(event.subject().session_id(), Some(sid));
        assert!(subject_claims_matcher::matches(event.subject(), login, None));
        let mut other = login.clone();
        other["sid"] = json!("another login");
        assert!(!subject_claims_matcher::matches(event.subject(), &other, None));
        assert!(application.refuses(login, sid).await);
        assert!(!application.refuses(login, "another login").await);
    }

    everything_happens(&stage).await;
    let expected = [
        SESSION_REVOKED,
        CREDENTIAL_CHANGE,
        SESSION_REVOKED,
        ACCOUNT_DISABLED,
        SESSION_REVOKED,
        ACCOUNT_ENABLED,
        SESSION_REVOKED,
        ACCOUNT_PURGED,
    ];
    for (application, login) in [&push, &poll].into_iter().zip(&logins) {
        assert_eq!(application.kinds(expected.len()).await, expected);
        let change = application.event(1);
        let change = change.event_for("CaepCredentialChange").unwrap();
        assert_eq!(
            (
                text(&json!(change), "change_type"),
                change["credential_type"].as_str()
            ),
            ("update", Some("password"))
        );
        for event in application.heard.lock().unwrap().iter().skip(1) {
            assert!(subject_claims_matcher::matches(event.subject(), login, None));
            assert!(!format!("{event:?}").contains("private words"));
        }
        assert!(application.refuses(login, "another login").await);
        assert_eq!(
            application.receiver.health().await.status,
            SsfHealthStatus::Healthy
        );
    }
    only_its_own_tokens_are_good(&push, &poll).await;
    for (client, application) in [(&first, &push), (&second, &poll)] {
        application.receiver.shutdown().await;
        assert_eq!(client.ask("GET", "/ssf/stream", None).await, (200, json!([])));
    }
    stage.stop().await;
}

/// What was pushed was taken but for the first, which came twice; it is good for nobody else, and not changed.
async fn only_its_own_tokens_are_good(push: &Application, poll: &Application) {
    let pushed = push.pushed.lock().unwrap().clone();
    let answers: Vec<u16> = pushed.iter().map(|(answer, _)| *answer).collect();
    assert_eq!(answers, [&[202, 500][..], &[202; 8]].concat());
    let (twice, token) = (&pushed[1].1, &pushed[2].1);
    assert_eq!(claims_of(twice)["jti"], claims_of(token)["jti"]);
    let at_another = poll
        .receiver
        .push_handler()
        .handle(Some(HEADER), token.as_bytes())
        .await;
    assert!(at_another.body.unwrap().contains("invalid_audience"));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let handler = push.receiver.push_handler();
    assert_eq!(handler.handle(Some(HEADER), forged.as_bytes()).await.status, 400);
    assert_eq!(
        handler
            .handle(Some("Bearer another"), token.as_bytes())
            .await
            .status,
        401
    );
}
