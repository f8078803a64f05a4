//! The integration tests: real Postgres, real HTTP, names that are claims.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "helpers of tests"
)]

mod account;
mod account_pages;
mod address_retention;
mod admin_api;
mod approvals;
mod authorization_details;
mod authorize;
mod blast_radius;
mod client_authentication;
mod client_metadata;
mod client_secret_jwt;
mod client_secrets;
mod code;
mod command_line;
mod configuration;
mod crashes;
mod cross_origin;
mod device;
mod documents;
mod dpop;
mod embedded_postgres;
mod erasure;
mod errors;
mod evidence;
mod exchange_properties;
mod faults;
mod flow;
mod grant_management;
mod grant_properties;
mod guessing;
mod harness;
mod hs256;
mod import;
mod introspection_jwt;
mod jarm;
mod json_requests;
mod jwks_uri;
mod jwt_bearer;
mod languages;
mod ledger;
mod legacy_clients;
mod logout;
mod metadata;
mod mtls;
mod opaque_tokens;
mod openid;
mod pairwise;
mod par;
mod parsers;
mod pkce_optional;
mod policies;
mod private_key_jwt;
mod profiles;
mod projection;
mod races;
mod recovery;
mod refusals;
mod registration;
mod request_objects;
mod resource;
mod retention;
mod revocation_races;
mod rfc6749;
mod rfc7009;
mod rfc7636;
mod rfc7662;
mod rfc8414;
mod rfc9126;
mod rfc9700;
mod secrets;
mod shared_signals;
mod status_list;
mod stock_client;
mod streams;
mod tables;
mod token;
mod token_exchange;
mod token_requests;
mod token_uses;
mod tokens;
mod trail;
mod users;
