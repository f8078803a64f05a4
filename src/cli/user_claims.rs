//! What a user's claims are set from on the command line.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help texts, where backticks would stand"
)]

use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value};

use super::client_input::read_object;
use crate::domain::openid::Claim;
use crate::operations::profile::ProfilePatch;

/// Claims, one by one or from a file.
#[derive(Args, Debug)]
pub(super) struct Claims {
    /// Set a claim of OpenID Connect, such as given_name=Ada or email_verified=true; without a value, remove it (repeat)
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// Read claims from FILE (- is standard input), a JSON object; null removes one
    #[arg(long = "claims", value_name = "FILE")]
    file: Option<String>,
}

impl Claims {
    /// What they change, with name and e-mail address. What is given one by one wins.
    pub(super) fn patch(&self, name: Option<&str>, email: Option<&str>) -> anyhow::Result<ProfilePatch> {
        let mut members = match &self.file {
            Some(file) => read_object(file)?,
            None => Map::new(),
        };
        for claim in &self.claims {
            let Some((name, value)) = claim.split_once('=') else {
                bail!("--claim needs NAME=VALUE");
            };
            members.insert(name.to_owned(), parsed(name, value)?);
        }
        for (claim, value) in [(Claim::Name, name), (Claim::Email, email)] {
            if let Some(value) = value {
                members.insert(claim.name().to_owned(), value.into());
            }
        }
        Ok(ProfilePatch::read(members)?)
    }
}

fn parsed(name: &str, value: &str) -> anyhow::Result<Value> {
    Ok(match (Claim::named(name), value) {
        (_, "") => Value::Null,
        (Some(Claim::Address), _) => bail!("an address has several members: give it in --claims FILE"),
        (Some(Claim::EmailVerified | Claim::PhoneNumberVerified), "true") => Value::Bool(true),
        (Some(Claim::EmailVerified | Claim::PhoneNumberVerified), "false") => Value::Bool(false),
        (Some(_) | None, value) => Value::String(value.to_owned()),
    })
}
