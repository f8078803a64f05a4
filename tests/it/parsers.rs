//! Every parser of bytes that nobody vouches for, and what holds of each whatever it is given: it reads or refuses them,
//! never panics, and what it has read is the same once it is written down and read again.
//!
//! `tests/corpus/<parser>` has the inputs that are kept: examples, and whatever was ever found. Each run tries all of them,
//! and some hundreds that are made of them by a generator with a fixed seed. `just soak` sets `GRANTLOG_SOAK_SECONDS`: for so
//! much CPU time each, with seeds of their own, in as many runs as it takes ([`soak`]). A finding is written into the corpus,
//! so that it stays a test.

mod forms;
mod jose;
mod languages;
mod mutate;
mod names;
mod registrations;
mod soak;
mod tokens;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use self::mutate::Mutator;
use self::soak::{Soak, Tally};

/// How many made inputs an ordinary run tries.
const CASES: u64 = 400;
/// The most accepted inputs that are kept to make others of.
const POOL: usize = 300;
/// The most bytes of a made input.
const LONGEST: usize = 48 * 1024;

/// What a parser made of an input.
pub(super) enum Read {
    /// It was refused.
    Refused,
    /// It was read, and is not written anywhere.
    Accepted,
    /// It was read, and is written like this: which is read as the same.
    As(Vec<u8>),
}

impl Read {
    fn when(read: bool) -> Self {
        if read { Self::Accepted } else { Self::Refused }
    }

    fn text(read: Option<impl Into<String>>) -> Self {
        match read {
            Some(text) => Self::As(text.into().into_bytes()),
            None => Self::Refused,
        }
    }
}

/// Runs a text parser: bytes that are no UTF-8 never reach it.
pub(super) fn text(bytes: &[u8], read: impl Fn(&str) -> Read) -> Read {
    std::str::from_utf8(bytes).map_or(Read::Refused, read)
}

type Parser = fn(&[u8]) -> Read;

fn folder(parser: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(parser)
}

fn corpus(parser: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder(parser))
        .unwrap_or_else(|error| panic!("tests/corpus/{parser}: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What is wrong with what a parser makes of an input.
fn wrong(parser: Parser, input: &[u8]) -> Option<String> {
    let read = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| parser(bytes)));
    let first = match read(input) {
        Err(_) => return Some("it panicked".to_owned()),
        Ok(Read::Refused | Read::Accepted) => return None,
        Ok(Read::As(written)) => written,
    };
    match read(&first) {
        Err(_) => Some("it panicked at what it had read".to_owned()),
        Ok(Read::As(second)) if second == first => None,
        Ok(Read::As(second)) => Some(format!(
            "what it had read\n{}\nit read as\n{}",
            first.escape_ascii(),
            second.escape_ascii()
        )),
        Ok(Read::Refused | Read::Accepted) => {
            Some(format!("it refuses what it had read: {}", first.escape_ascii()))
        }
    }
}

/// Keeps a finding, and fails.
fn found(name: &str, input: &[u8], what: &str) -> ! {
    let digest = grantlog::domain::value::Digest::of(input).to_string();
    let path = folder(name).join(format!("found-{}", &digest[..12]));
    std::fs::write(&path, input).unwrap();
    panic!("{name}: {what}\nthe input is kept in {}", path.display());
}

fn run(name: &'static str, parser: Parser) {
    let seeds = corpus(name);
    assert!(!seeds.is_empty(), "tests/corpus/{name} is empty");
    for input in &seeds {
        if let Some(what) = wrong(parser, input) {
            found(name, input, &what);
        }
    }
    // A corpus whose every input is refused at the door would test nothing behind it.
    let reads = |input: &Vec<u8>| !matches!(parser(input), Read::Refused);
    assert!(seeds.iter().any(reads), "{name} reads none of its corpus");
    let mut soak = Soak::wanted(name);
    let mut mutator = match soak {
        Some(_) => Mutator::new(u64::from(std::process::id()) << 32 | u64::from(name.as_bytes()[0])),
        None => Mutator::new(0x6772_616e_746c_6f67),
    };
    let (mut pool, mut tally) = (seeds, Tally::default());
    loop {
        let is_over = match &mut soak {
            // The system is not asked for the time after each input.
            Some(soak) => tally.inputs.is_multiple_of(128) && !soak.goes_on(tally),
            None => tally.inputs >= CASES,
        };
        if is_over {
            break;
        }
        let input = mutator.make(&pool, LONGEST);
        if let Some(what) = wrong(parser, &input) {
            tally.findings += 1;
            if let Some(soak) = &soak {
                soak.end(tally);
            }
            found(name, &input, &what);
        }
        if !matches!(parser(&input), Read::Refused) {
            tally.read += 1;
            if pool.len() < POOL {
                pool.push(input);
            }
        }
        tally.inputs += 1;
    }
    if let Some(soak) = &soak {
        soak.end(tally);
    }
}

macro_rules! parsers {
    ($($name:ident: $parser:expr;)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name), $parser);
            }
        )*

        const NAMES: &[&str] = &[$(stringify!($name),)*];
    };
}

parsers! {
    // Requests.
    form: forms::form;
    json_form: forms::json_form;
    content_type: forms::content_type;
    basic_header: forms::basic_header;
    authorization_query: forms::authorization_query;
    claims: forms::claims;
    authorization_details: registrations::authorization_details;
    cookie: forms::cookie;
    accept: forms::accept;
    accept_language: languages::accept_language;
    ui_locales: languages::ui_locales;
    forwarded: forms::forwarded;
    user_code: forms::user_code;
    session_cookie: forms::session_cookie;
    request_uri: forms::request_uri;
    resource: forms::resource;
    // What is signed, and with what.
    client_assertion: jose::client_assertion;
    dpop_proof: jose::dpop_proof;
    software_statement: jose::software_statement;
    signed_statement: tokens::signed_statement;
    request_object: tokens::request_object;
    grant_assertion: tokens::grant_assertion;
    access_token: tokens::access_token;
    id_token_hint: tokens::id_token_hint;
    jwks: jose::jwks;
    thumbprint: jose::thumbprint;
    pkce: jose::pkce;
    credential: jose::credential;
    initial_access_token: jose::initial_access_token;
    encrypted_token: jose::encrypted_token;
    // Certificates.
    certificate: names::certificate;
    certificate_header: names::certificate_header;
    certificate_subject: names::certificate_subject;
    distinguished_name: names::distinguished_name;
    // Registrations, and what stands in them.
    client_metadata: registrations::client_metadata;
    self_registration: registrations::self_registration;
    redirect_uri: registrations::redirect_uri;
    scope: registrations::scope;
    canonical_json: registrations::canonical_json;
    // Files of an import.
    sql_dump: registrations::sql_dump;
    csv: registrations::csv;
}

#[test]
fn every_corpus_has_its_parser() {
    let corpora: BTreeSet<String> = std::fs::read_dir(folder(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(corpora, NAMES.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn a_parser_that_panics_or_reads_its_own_writing_otherwise_is_found() {
    let panics: Parser = |bytes| Read::when(bytes.len() > 2 && bytes[3] == 0);
    assert!(wrong(panics, b"ab").is_none());
    assert_eq!(wrong(panics, b"abc").as_deref(), Some("it panicked"));
    let grows: Parser = |bytes| Read::As([bytes, b"x"].concat());
    assert!(wrong(grows, b"a").unwrap().contains("it read as"));
    let shy: Parser = |bytes| match bytes {
        b"a" => Read::As(b"b".to_vec()),
        _ => Read::Refused,
    };
    assert!(wrong(shy, b"a").unwrap().contains("refuses what it had read"));
}

#[test]
fn a_mutator_makes_what_its_pool_does_not_have() {
    let pool = vec![b"grant_type=password".to_vec(), b"{\"a\": [1]}".to_vec()];
    let (mut one, mut other) = (Mutator::new(7), Mutator::new(7));
    let made: Vec<Vec<u8>> = (0..200).map(|_| one.make(&pool, 100)).collect();
    let again: Vec<Vec<u8>> = (0..200).map(|_| other.make(&pool, 100)).collect();
    assert_eq!(made, again, "the same seed makes the same inputs");
    let different: BTreeSet<&Vec<u8>> = made.iter().filter(|input| !pool.contains(input)).collect();
    assert!(different.len() > 100, "{}", different.len());
    assert!(made.iter().all(|input| input.len() <= 100));
}
