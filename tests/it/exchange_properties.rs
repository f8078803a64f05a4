//! Token exchange, decided on random tokens, rules and requests (RFC 8693; invariant 5).

use chrono::{DateTime, TimeDelta};
use grantlog::domain::authorization_detail::{AskedDetails, Detail};
use grantlog::domain::client::{ExchangeMode, ExchangeRule};
use grantlog::domain::grant::{
    Act, ActiveToken, Basis, Exchange, Grant, GrantEvent, Lineage, MAX_EXCHANGES, Mint, Outcome, TokenRef,
};
use grantlog::domain::value::{Digest, ScopeSet, Sealed};
use grantlog::ids::{ClientKey, GrantId, KeyId, SubjectId};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

fn scopes() -> impl Strategy<Value = ScopeSet> {
    proptest::collection::btree_set("[abcd]", 0..5).prop_map(|scopes| scopes.into_iter().collect())
}

fn audience() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set("urn:[abc]", 0..4).prop_map(|all| all.into_iter().collect())
}

fn token(number: u128) -> TokenRef {
    TokenRef {
        grant: GrantId(Uuid::from_u128(number)),
        sequence: 3,
        client: ClientKey(Uuid::from_u128(1)),
        key: Some(KeyId(Uuid::from_u128(2))),
    }
}

fn active(number: u128) -> impl Strategy<Value = ActiveToken> {
    (scopes(), 1..5000_i64, 0..7_usize, any::<bool>()).prop_map(move |(scope, lives, before, acted)| {
        let before: Vec<TokenRef> = (0..before).map(|step| token(number + 1 + step as u128)).collect();
        ActiveToken {
            token: token(number),
            subject: Some(SubjectId(Uuid::from_u128(3))),
            sub: "user".to_owned(),
            client_id: "shop".to_owned(),
            scope,
            expires_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(lives),
            act: acted.then(|| Act {
                sub: "before".to_owned(),
                client_id: "before".to_owned(),
                act: None,
            }),
            may_act: None,
            lineage: (!before.is_empty()).then(|| Lineage {
                mode: ExchangeMode::Impersonation,
                subjects: before,
                actors: Vec::new(),
            }),
        }
    })
}

/// Details of types with a resource server each, what is asked for of them, and which of the types may be had.
fn details() -> impl Strategy<Value = AskedDetails> {
    let some = || proptest::collection::btree_set("[abc]", 0..4);
    (some(), proptest::option::of(some()), some()).prop_map(|(granted, asked, allowed)| {
        let all = |types: std::collections::BTreeSet<String>| -> Vec<Detail> {
            let details = types
                .iter()
                .map(|name| Detail::try_from(json!({"type": name})).unwrap());
            details.collect()
        };
        AskedDetails {
            granted: all(granted),
            asked: asked.map(all),
            allowed: allowed
                .into_iter()
                .map(|name| (name.clone(), vec![format!("urn:{name}")]))
                .collect(),
        }
    })
}

prop_compose! {
    fn exchange()(
        subject in active(100),
        actor in proptest::option::of(active(200)),
        delegates: bool,
        rule_scope in scopes(),
        rule_audience in audience(),
        scope in proptest::option::of(scopes()),
        audience in proptest::option::of(audience()),
        details in details(),
        client_scope in scopes(),
        client_audience in audience(),
        access_lifetime in 1..5000_u32,
    ) -> Exchange {
        Exchange {
            client: ClientKey(Uuid::from_u128(7)),
            client_id: "service".to_owned(),
            client_version: 4,
            rule: ExchangeRule {
                subject_client: subject.token.client,
                mode: if delegates { ExchangeMode::Delegation } else { ExchangeMode::Impersonation },
                scope: rule_scope,
                audience: rule_audience,
            },
            subject,
            actor: actor.filter(|_| delegates),
            scope,
            audience,
            sealed: details.asked.as_ref().filter(|asked| !asked.is_empty()).map(|_| Sealed("sealed".to_owned())),
            details,
            client_scope,
            client_audience,
            password_generation: 2,
            mint: Mint { access: Digest::of(b"access"), access_lifetime, refresh: None, confirmation: None },
            at: DateTime::UNIX_EPOCH,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_exchanged_is_within_subject_rule_and_client(command in exchange()) {
        let decision = Grant::default().exchange(&command);
        let Exchange { subject, actor, rule, .. } = &command;
        let Ok(Outcome::Tokens(issued)) = &decision.outcome else {
            prop_assert!(decision.events.is_empty());
            return Ok(());
        };
        for limit in [&subject.scope, &rule.scope, &command.client_scope] {
            prop_assert!(issued.scope.is_subset(limit));
        }
        prop_assert!(command.scope.as_ref().is_none_or(|asked| issued.scope == *asked));
        prop_assert_eq!(&issued.details, &command.details.asked.clone().unwrap_or_default());
        for detail in &issued.details {
            prop_assert!(command.details.granted.contains(detail));
            let resources = &command.details.allowed[detail.type_name()];
            prop_assert!(resources.iter().any(|one| issued.audience.contains(one)));
        }
        prop_assert!(!issued.audience.is_empty());
        for one in &issued.audience {
            prop_assert!(rule.audience.contains(one) && command.client_audience.contains(one));
            prop_assert!(command.audience.as_ref().is_none_or(|asked| asked.contains(one)));
        }
        prop_assert!(issued.access_expires_at <= subject.expires_at);
        prop_assert!(actor.as_ref().is_none_or(|actor| issued.access_expires_at <= actor.expires_at));
        prop_assert!(!issued.refresh);

        // Folded, the grant knows all that it rests on.
        let mut grant = Grant::default();
        for event in decision.events.clone() {
            cqrs_es::Aggregate::apply(&mut grant, event);
        }
        let family = grant.family.as_deref().unwrap();
        let Some(Basis::Tokens(lineage)) = family.basis.as_deref() else {
            panic!("no lineage");
        };
        let before = |token: &ActiveToken| token.lineage.as_ref().map_or(0, |lineage| lineage.subjects.len());
        prop_assert_eq!(lineage.subjects[0], subject.token);
        prop_assert_eq!(lineage.subjects.len(), before(subject) + 1);
        prop_assert!(lineage.subjects.len() <= MAX_EXCHANGES);
        prop_assert_eq!(lineage.actors.len(), actor.as_ref().map_or(0, |actor| before(actor) + 1));
        prop_assert!(grant.access_at(issued.sequence).is_some());
        prop_assert_eq!(family.expires_at, issued.access_expires_at);
        // Who acts: named in a delegation, around those before.
        let act = issued.exchanged.as_ref().unwrap().act.clone();
        let expected = match rule.mode {
            ExchangeMode::Impersonation => subject.act.clone(),
            ExchangeMode::Delegation => Some(Act {
                sub: actor.as_ref().map_or("service", |actor| &actor.sub).to_owned(),
                client_id: actor.as_ref().map_or("service", |actor| &actor.client_id).to_owned(),
                act: subject.act.clone().map(Box::new),
            }),
        };
        prop_assert_eq!(act, expected);
        let told = matches!(&decision.events[..], [GrantEvent::TokenExchanged(_), GrantEvent::TokenIssued(_)]);
        prop_assert!(told);
    }
}
