//! Documents that are generated from the code, or that must name all of it.

use std::fmt::Write as _;

use grantlog::domain::event::Event;
use grantlog::domain::refusal::RefusalReason;

/// The names that never change.
const FIXED: [&str; 5] = [
    "CodeIssued",
    "CodeRedeemed",
    "TokenIssued",
    "RefreshRotated",
    "TokenRevoked",
];

fn catalogue() -> String {
    let mut text = String::from(
        "# The events\n\n\
         Generated from the types in `src/domain` by `just events`; a test compares it with them. Every event has a\n\
         version; once released it changes only by a new version with an upcaster. A bold name is fixed for good.\n\n\
         A payload is canonical JSON (RFC 8785) without null members: an optional member is there or it is not.\n\
         Digests are SHA-256 in hexadecimal, times RFC 3339 in UTC, `Sealed` values are encrypted under the data key\n\
         of their subject, or client. The metadata beside each payload holds `request_id`, `actor`, `endpoint`, `trace_id`,\n\
         `network` (a digest keyed per month), `agent` (the family of the user agent, such as `firefox`), `caller` (address and\n\
         user agent, sealed), for acts of a client\n\
         `authentication` (its method, and the `kid`, number of the secret or thumbprint of the certificate) and, for acts\n\
         of administration that have no member for it, `note` (the reason that was given).\n",
    );
    let mut aggregate = "";
    for schema in Event::schemas() {
        if schema.aggregate != aggregate {
            aggregate = schema.aggregate;
            write!(text, "\n## `{aggregate}`\n").unwrap();
        }
        let name = if FIXED.contains(&schema.event_type) {
            format!("**{}**", schema.event_type)
        } else {
            schema.event_type.to_owned()
        };
        write!(
            text,
            "\n### {name} (version {})\n\n{}\n",
            schema.version,
            schema.doc.trim()
        )
        .unwrap();
        if !schema.fields.is_empty() {
            text.push_str("\n| member | type | meaning |\n|---|---|---|\n");
        }
        for (member, kind, doc) in schema.fields {
            writeln!(
                text,
                "| `{member}` | `{}` | {} |",
                kind.replace(' ', ""),
                doc.trim()
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn the_event_catalogue_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");
    if std::env::var_os("GRANTLOG_WRITE_DOCS").is_some() {
        std::fs::write(path, catalogue()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == catalogue(),
        "docs/events.md differs from the types: run `just events`"
    );
}

/// A variant's name as a heading.
fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
            text.extend(letter.to_lowercase());
        } else {
            text.push(letter);
        }
    }
    text
}

fn reasons() -> String {
    let mut text = String::from(
        "# Why requests are refused\n\n\
         Generated from `src/domain/refusal` by `just events`; a test compares it. The caller of a refused request is\n\
         told an error code ([errors.md](errors.md)) and the request's id; the reason is on the ledger. `grantlog doctor\n\
         request ID` and `GET /admin/refusals/ID` give both the reason and the advice.\n",
    );
    let mut guides: Vec<_> = RefusalReason::ALL.iter().map(|reason| reason.guide()).collect();
    guides.dedup();
    let mut done = Vec::new();
    for guide in guides {
        if done.contains(&guide) {
            continue;
        }
        done.push(guide);
        let advice = guide.text();
        let title = words(&format!("{guide:?}"));
        let severity = format!("{:?}", advice.severity).to_lowercase();
        write!(
            text,
            "\n## {title}\n\nSeverity: {severity}.\n\n| reason | the check that failed |\n|---|---|\n"
        )
        .unwrap();
        for reason in RefusalReason::ALL.iter().filter(|reason| reason.guide() == guide) {
            writeln!(text, "| `{reason}` | {} |", reason.check()).unwrap();
        }
        for (heading, lines) in [
            ("Likely causes", advice.causes),
            ("What to do", advice.resolution),
            ("Prevention", advice.prevention),
        ] {
            write!(text, "\n{heading}:\n").unwrap();
            for line in lines {
                writeln!(text, "- {line}").unwrap();
            }
        }
    }
    text
}

#[test]
fn the_reasons_of_refusals_are_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/refusals.md");
    if std::env::var_os("GRANTLOG_WRITE_DOCS").is_some() {
        std::fs::write(path, reasons()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == reasons(),
        "docs/refusals.md differs from the code: run `just events`"
    );
}

#[test]
fn every_error_code_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let codes = "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type \
        invalid_scope access_denied server_error temporarily_unavailable unsupported_response_type \
        authorization_pending slow_down expired_token login_required consent_required invalid_request_object \
        invalid_grant_id request_uri_not_supported registration_not_supported invalid_request_uri invalid_target \
        validation_error token_expired token_invalid unauthenticated insufficient_scope unapproved_scope \
        permission_denied resource_not_found rate_limit_exceeded service_unavailable \
        method_not_allowed not_acceptable not_implemented request_timeout head_too_large invalid_redirect_uri invalid_client_metadata \
        invalid_software_statement unapproved_software_statement invalid_token invalid_dpop_proof \
        use_dpop_nonce invalid_authorization_details";
    for code in codes.split_whitespace() {
        assert!(text.contains(&format!("| `{code}` |")), "no row for {code}");
    }
}

/// Every name that a registration takes, from what its parser says of one that it does not.
fn registration_members() -> Vec<String> {
    let unknown = serde_json::json!({"client_name": "x", "no_such_member": 1});
    let error = grantlog::operations::describe::parse(unknown)
        .unwrap_err()
        .to_string();
    let (_, names) = error.split_once("expected one of ").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_member_of_the_client_metadata_is_documented() {
    use grantlog::operations::self_registration::OPEN;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/registration.md")).unwrap();
    let table: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 4)
        .collect();
    let row = |name: &str| {
        let quoted = format!("`{name}`");
        let found = table
            .iter()
            .find(|line| line.split(" | ").next().unwrap().contains(&quoted));
        *found.unwrap_or_else(|| panic!("no row for {name}"))
    };
    let members = registration_members();
    assert!(members.len() > 35, "{members:?}");
    for name in &members {
        let itself = row(name).split(" | ").nth(3).unwrap();
        let aliases = ["home_page_url", "logo_url", "privacy_policy_url"];
        let open = OPEN.contains(&name.as_str()) || aliases.contains(&name.as_str());
        assert_eq!(itself.starts_with("yes"), open, "{name}");
    }
    for name in OPEN {
        assert!(members.iter().any(|member| member == name), "{name} is no member");
    }
    for line in &table {
        let name = line.split('`').nth(1).unwrap();
        assert!(
            members.iter().any(|member| member == name),
            "there is no member {name}"
        );
    }
}

#[test]
fn the_fixed_names_are_there() {
    let names: Vec<_> = Event::schemas().iter().map(|schema| schema.event_type).collect();
    assert!(FIXED.iter().all(|name| names.contains(name)));
}

/// The text of every file of these kinds under these directories.
fn sources(directories: &[&str], extensions: &[&str]) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let mut directories: Vec<_> = directories.iter().map(|directory| root.join(directory)).collect();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
            {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// The cells of the rows of a document's tables, without their headers.
fn rows(document: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(format!("{}/docs/{document}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let is_header = |place: usize| lines.get(place + 1).is_some_and(|next| next.starts_with("|--"));
    (0..lines.len())
        .filter(|place| {
            let line = lines[*place];
            line.starts_with('|') && !line.starts_with("|--") && !is_header(*place)
        })
        .map(|place| {
            let cells = lines[place].trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// The documents that a cell links to.
fn links(cell: &str) -> Vec<&str> {
    let targets = cell.split("](").skip(1);
    targets.filter_map(|rest| rest.split([')', '#']).next()).collect()
}

#[test]
fn every_test_that_the_specifications_table_names_exists() {
    let sources = sources(&["src", "tests/it"], &["rs"]);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = rows("specs.md");
    assert!(rows.len() > 400, "{} rows", rows.len());
    for row in rows {
        let [_, statement, file, shown] = &row[..] else {
            panic!("four cells: {row:?}")
        };
        let file = file.trim_matches('`');
        assert!(root.join(file).exists(), "no file {file}");
        for document in links(statement).into_iter().chain(links(shown)) {
            assert!(
                root.join("docs").join(document).exists(),
                "no document {document}"
            );
        }
        if statement.starts_with("a deviation") {
            assert!(!links(statement).is_empty(), "no decision for {row:?}");
        }
        match shown.strip_prefix('`').and_then(|test| test.strip_suffix('`')) {
            Some(test) => assert!(sources.contains(&format!("fn {test}(")), "no test {test}"),
            None if shown.starts_with("operator: ") => {
                assert!(!links(shown).is_empty(), "no document for {row:?}");
            }
            None => assert!(
                shown.strip_prefix("none: ").is_some_and(|why| why.len() > 8),
                "neither a test nor a word why there is none: {row:?}"
            ),
        }
    }
}

/// The specifications that every statement of has its row.
const COMPLETE: [&str; 13] = [
    "RFC 6749",
    "RFC 7009",
    "RFC 7636",
    "RFC 7662",
    "RFC 8628",
    "RFC 9126",
    "RFC 9207",
    "RFC 9449",
    "RFC 9700",
    "OIDC Core",
    "OIDC Discovery",
    "OIDC RP-Initiated Logout",
    "OIDC Back-Channel Logout",
];

#[test]
fn every_specification_says_whether_its_rows_are_complete() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/specs.md")).unwrap();
    let (_, groups) = text.split_once("\n## ").unwrap();
    let (mut complete, mut seen) = (Vec::new(), std::collections::HashSet::new());
    for group in groups.split("\n## ") {
        let (title, rest) = group.split_once('\n').unwrap();
        let name = title.split(": ").next().unwrap();
        if rest.starts_with("Complete") {
            complete.push(name);
        } else {
            assert!(rest.starts_with("Main rows."), "{title}");
        }
        let rows = rest.lines().filter(|line| line.starts_with("| ")).skip(1);
        for row in rows {
            let row = row.trim_matches('|').trim();
            let of_group = row.starts_with(name) || name == "Other specifications";
            assert!(of_group, "under {title}: {row}");
            let mut cells = row.splitn(3, " | ");
            let statement = (cells.next().unwrap(), cells.next().unwrap());
            assert!(seen.insert(statement), "twice: {row}");
        }
    }
    assert_eq!(complete, COMPLETE);
}

#[test]
fn every_statement_of_the_seed_documents_has_a_test() {
    let tests = sources(&["src", "tests/it"], &["rs"]);
    let samples = sources(&["tests/samples"], &["mjs"]);
    let rows = rows("seeds.md");
    assert!(rows.len() > 100, "{} rows", rows.len());
    for row in rows {
        let test = row.last().unwrap().trim_matches('`');
        let exists = match test.strip_prefix("sample: ") {
            Some(name) => samples.contains(&format!("sample('{name}',")),
            None => tests.contains(&format!("fn {test}(")),
        };
        assert!(exists, "no test {test} for: {row:?}");
    }
}
