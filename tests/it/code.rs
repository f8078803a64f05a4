//! Authorization codes without a browser, for tests of what comes after.

use grantlog::credential::{self, Address, Kind};
use grantlog::domain::consent::{Consent, ConsentCommand, Terms};
use grantlog::domain::grant::{CodeIssued, Grant};
use grantlog::domain::pkce::{Challenge, Method};
use grantlog::domain::user::User;
use grantlog::domain::value::ScopeSet;
use grantlog::ids::{ClientKey, GrantId, SubjectId};

use crate::harness::TestServer;

/// The example verifier of RFC 7636 appendix B, and its challenge.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const REDIRECT_URI: &str = "https://app.example/callback";

/// Issues a code as the authorization endpoint would, with consent.
pub(crate) async fn issue(
    server: &TestServer,
    client: ClientKey,
    subject: SubjectId,
    scope: &str,
) -> (GrantId, String) {
    issue_with(server, (client, subject), scope, |_| {}).await
}

/// As [`issue`], with something of the event changed.
pub(crate) async fn issue_with(
    server: &TestServer,
    (client, subject): (ClientKey, SubjectId),
    scope: &str,
    change: impl Fn(&mut CodeIssued),
) -> (GrantId, String) {
    let ledger = &server.app.ledger;
    let context = TestServer::context();
    let random: [u8; 32] = ledger.random().bytes().unwrap();
    let mut unit = ledger.unit_of_work(&context);
    loop {
        let at = unit.at();
        let id = GrantId(ledger.random().uuid_at(at).unwrap());
        let user = unit.load::<User>(subject.0).await.unwrap();
        let consent = unit.load::<Consent>(Consent::id(subject, client)).await.unwrap();
        let scope = ScopeSet::parse(scope).unwrap();
        if !scope.is_subset(&consent.scope) {
            let give = ConsentCommand::Give {
                subject,
                client,
                terms: Terms {
                    scope: scope.clone(),
                    ..Terms::default()
                },
                authorization_details: None,
                at,
            };
            unit.also(&consent, &consent.decide(&give).events).unwrap();
        }
        let grant = unit.create::<Grant>(id.0);
        let mut event = CodeIssued {
            client,
            subject,
            session: None,
            auth_time: Some(at),
            amr: Some(vec!["pwd".to_owned()]),
            nonce: None,
            id_token_claims: None,
            individual_claims: None,
            scope,
            audience: vec![server.base.clone()],
            authorization_details: None,
            digest: credential::digest(Kind::Code, &random),
            redirect_uri: REDIRECT_URI.to_owned(),
            redirect_uri_required: true,
            challenge: Some(Challenge::parse(CHALLENGE, Method::S256).unwrap()),
            confirmation: None,
            password_generation: user.password_generation,
            management: None,
            consent_withdrawals: consent.withdrawals,
            issued_at: at,
            expires_at: at + chrono::TimeDelta::seconds(600),
            grant_expires_at: at + chrono::TimeDelta::days(365),
        };
        change(&mut event);
        let decision = grant.issue_code(&event);
        if let Some(concluded) = unit.conclude(&grant, decision).await.unwrap() {
            concluded.outcome.unwrap();
            let key = ledger.vault().master().address_key();
            return (
                id,
                credential::format(
                    Kind::Code,
                    key,
                    Address {
                        grant: id,
                        sequence: 1,
                    },
                    &random,
                ),
            );
        }
    }
}
