//! What describes a client on the command line: RFC 7591 metadata as JSON, flags for the common members, or both
//! (the flags win).
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help texts, where backticks would stand"
)]

use std::io::Read;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::output;
use crate::unique_json::Unique;

/// Members that have a flag.
#[derive(Args, Debug)]
pub(super) struct Members {
    /// Read RFC 7591 metadata from FILE (- is standard input), and print JSON. Without FILE: print JSON
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "")]
    json: Option<String>,
    /// The name that users are shown
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where codes may be sent (repeat for several)
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// A grant type that it may use: authorization_code, refresh_token, client_credentials, password, or
    /// urn:ietf:params:oauth:grant-type:device_code, …:token-exchange or …:jwt-bearer (repeat)
    #[arg(long = "grant-type", value_name = "TYPE")]
    grant_types: Vec<String>,
    /// The scopes that it may ask for, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// What a request without a scope asks for
    #[arg(long, value_name = "SCOPES")]
    default_scopes: Option<String>,
    /// How it authenticates: client_secret_basic, client_secret_post, client_secret_jwt (where the server allows it),
    /// private_key_jwt and self_signed_tls_client_auth (with jwks or jwks_uri in --json), tls_client_auth (with a
    /// tls_client_auth_… member in --json), any, none
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<String>,
    /// The rules that it is held to: oauth21, fapi2-security, fapi2-message-signing or legacy
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// It keeps no secret (the same as --auth-method none)
    #[arg(long, conflicts_with = "auth_method")]
    public: bool,
    /// A browser origin that may call the endpoints (repeat)
    #[arg(long = "allowed-origin", value_name = "ORIGIN")]
    allowed_origins: Vec<String>,
    /// A type of authorization details (RFC 9396) that it may ask for (repeat)
    #[arg(long = "authorization-details-type", value_name = "TYPE")]
    authorization_details_types: Vec<String>,
    /// The audience of its access tokens (repeat)
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// The form of its access tokens: jwt (the default), or opaque, which only this server can explain
    #[arg(long, value_name = "FORMAT")]
    access_token_format: Option<String>,
    /// As a resource server: an audience whose tokens it may introspect (repeat)
    #[arg(long, value_name = "AUDIENCE")]
    introspects: Vec<String>,
}

impl Members {
    /// Whether the answer is for a machine.
    pub(super) fn wants_json(&self) -> bool {
        self.json.is_some()
    }

    /// The members that were given.
    pub(super) fn read(&self) -> anyhow::Result<Map<String, Value>> {
        let mut members = match self.json.as_deref() {
            None | Some("") => Map::new(),
            Some(file) => {
                let mut members = read_object(file)?;
                ignore(&mut members);
                members
            }
        };
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        let list = |values: &[String]| (!values.is_empty()).then(|| json!(values));
        set("client_name", self.name.as_ref().map(|name| json!(name)));
        set("redirect_uris", list(&self.redirect_uris));
        set("grant_types", list(&self.grant_types));
        set("scope", self.scope.as_ref().map(|scope| json!(scope)));
        set(
            "default_scopes",
            self.default_scopes.as_ref().map(|scope| json!(scope)),
        );
        let method = if self.public {
            Some("none")
        } else {
            self.auth_method.as_deref()
        };
        set("token_endpoint_auth_method", method.map(|method| json!(method)));
        set("profile", self.profile.as_ref().map(|profile| json!(profile)));
        set("allowed_origins", list(&self.allowed_origins));
        set("audience", list(&self.audience));
        set(
            "authorization_details_types",
            list(&self.authorization_details_types),
        );
        set(
            "access_token_format",
            self.access_token_format.as_ref().map(|format| json!(format)),
        );
        set("introspects", list(&self.introspects));
        if members.is_empty() {
            bail!("nothing is said of the client: give --json FILE, or flags such as --name");
        }
        Ok(members)
    }
}

/// Members of RFC 7591 §2, of OpenID Connect Dynamic Client Registration §2 and of their answers that change nothing here.
const WITHOUT_EFFECT: [&str; 9] = [
    "client_id_issued_at",
    "client_secret_expires_at",
    "default_acr_values",
    "initiate_login_uri",
    "registration_access_token",
    "registration_client_uri",
    "request_uris",
    "require_auth_time",
    "response_types",
];

/// Leaves out what has no effect, and says so. What no specification knows is left for the registration to refuse: it is
/// a typing error.
fn ignore(members: &mut Map<String, Value>) {
    let has_no_effect = |name: &str| {
        // RFC 7591 §2.2: a name in some language.
        let (name, tagged) = name
            .split_once('#')
            .map_or((name, false), |(name, _)| (name, true));
        let said = ["client_name", "client_uri", "logo_uri", "policy_uri"].contains(&name);
        WITHOUT_EFFECT.contains(&name) || (tagged && said)
    };
    let mut ignored = Vec::new();
    members.retain(|name, _| {
        let kept = !has_no_effect(name);
        if !kept {
            ignored.push(name.clone());
        }
        kept
    });
    if !ignored.is_empty() {
        let names = ignored.join(", ");
        output::note(&format!("ignored: {names} (this server has no use for them)"));
    }
}

/// A JSON object from a file, or from standard input.
pub(super) fn read_object(file: &str) -> anyhow::Result<Map<String, Value>> {
    let text = if file == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?
    };
    // Not the parser's own words with the text: it may hold a secret.
    let Unique(parsed) = serde_json::from_str(&text).map_err(|error| {
        anyhow::anyhow!(
            "{file}: not JSON, or a member is there twice, line {} column {}",
            error.line(),
            error.column()
        )
    })?;
    match parsed {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            bail!("{file}: not a JSON object")
        }
    }
}
