//! `grantlog alert`: what somebody should look at.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use super::arguments::{Connection, Json, Page};
use super::output;
use super::session::Session;
use crate::domain::alert::{Alert, Dossier, Presenter};
use crate::operations::alert::AlertFilter;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List alerts, as far as the projection has come
    List {
        /// Those that nobody has acknowledged
        #[arg(long)]
        open: bool,
        /// Those of this rule
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        output: Json,
    },
    /// Show an alert, with what it rests on and what was done; of a replay, both presenters side by side
    Show {
        /// The alert's id
        alert: Uuid,
        #[command(flatten)]
        output: Json,
    },
    /// Note that you looked at an alert
    Acknowledge {
        /// The alert's id
        alert: Uuid,
        /// What came of it; it is recorded
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        output: Json,
    },
}

pub(super) async fn run(connection: &Connection, command: Command) -> anyhow::Result<()> {
    let session = Session::open(connection).await?;
    match command {
        Command::List {
            open,
            rule,
            page,
            output,
        } => list(&session, (open, rule.as_deref()), page, output).await?,
        Command::Show { alert, output } => show(&session, alert, output).await?,
        Command::Acknowledge { alert, note, output } => {
            let context = session.context("alert acknowledge")?;
            let operations = &session.operations;
            operations.acknowledge_alert(&context, alert, note).await?;
            if output.json {
                output::json(&json!({"alert": alert, "acknowledged": true}))?;
            } else {
                output::line(&format!("alert {alert} is acknowledged"))?;
            }
        }
    }
    session.close().await;
    Ok(())
}

async fn list(
    session: &Session,
    (open, rule): (bool, Option<&str>),
    page: Page,
    output: Json,
) -> anyhow::Result<()> {
    let filter = AlertFilter { open, rule };
    let rows = session.operations.alerts(filter, (page.after, page.limit)).await;
    let rows = rows.context("the projection of alerts cannot be read (a server makes it when it starts)")?;
    if output.json {
        return output::json(&rows);
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let state = if row.acknowledged_at.is_some() {
                "seen"
            } else {
                "open"
            };
            [
                row.id.to_string(),
                output::moment(row.raised_at),
                row.alert.to_string(),
                row.severity.unwrap_or_default(),
                row.rule,
                state.to_owned(),
                row.action.unwrap_or_default(),
                row.verdict.unwrap_or_default(),
                row.summary,
            ]
        })
        .collect();
    output::table(
        [
            "POSITION", "RAISED", "ALERT", "SEVERITY", "RULE", "STATE", "DONE", "VERDICT", "FOUND",
        ],
        &rows,
    )
}

async fn show(session: &Session, id: Uuid, output: Json) -> anyhow::Result<()> {
    session
        .record_reading("alert show", |reading| {
            reading.filters = vec!["alert".to_owned()];
            reading.resource = Some(id.to_string());
        })
        .await?;
    let alert = session.operations.alert(id).await?;
    let alert = alert.with_context(|| format!("there is no alert {id}"))?;
    if output.json {
        return output::json(&json!({
            "alert": id, "raised": alert.raised, "containments": alert.containments,
            "acknowledged": alert.acknowledged.is_some(),
            "note": alert.acknowledged.and_then(|acknowledged| acknowledged.note),
        }));
    }
    print(id, &alert)
}

fn print(id: Uuid, alert: &Alert) -> anyhow::Result<()> {
    output::line(&format!("alert {id}"))?;
    if let Some(raised) = &alert.raised {
        let about = serde_json::to_value(raised.about)?;
        for (name, text) in [
            ("rule", format!("{} version {}", raised.rule, raised.rule_version)),
            ("rule hash", raised.rule_hash.to_string()),
            ("severity", raised.severity.to_string()),
            ("technique", raised.technique.clone()),
            ("title", raised.title.clone()),
            ("found", raised.summary.clone()),
            (
                "at",
                format!("{} (position {})", output::moment(raised.at), raised.position),
            ),
            ("rests on", format!("{:?}", raised.evidence)),
        ] {
            output::line(&format!("{name:<12} {}", output::visible(&text)))?;
        }
        let members = about.as_object().into_iter().flatten();
        for (name, value) in members.filter(|(_, value)| !value.is_null()) {
            output::line(&format!("{name:<12} {}", value.as_str().unwrap_or_default()))?;
        }
        if let Some(dossier) = &raised.dossier {
            print_dossier(dossier)?;
        }
    }
    for containment in &alert.containments {
        let document: Value = serde_json::to_value(containment)?;
        output::line(&format!(
            "done         {} {}",
            containment.action,
            output::visible(&document.to_string())
        ))?;
    }
    match &alert.acknowledged {
        None => output::line("nobody has acknowledged it"),
        Some(acknowledged) => {
            let note = acknowledged.note.as_deref().unwrap_or_default();
            output::line(&format!("acknowledged {}", output::visible(note)))
        }
    }
}

fn print_dossier(dossier: &Dossier) -> anyhow::Result<()> {
    output::line(&format!("verdict      {}", dossier.verdict.name()))?;
    for reason in &dossier.reasons {
        output::line(&format!("             {reason}"))?;
    }
    let generation = dossier
        .killed_generation
        .map_or_else(String::new, |number| format!(" and refresh generation {number}"));
    output::line(&format!(
        "ended        {} access tokens{generation}",
        dossier.killed_access_tokens
    ))?;
    let rows = [
        row("position", dossier, |presenter| presenter.position.to_string()),
        row("at", dossier, |presenter| output::moment(presenter.at)),
        row("request", dossier, |presenter| presenter.request.to_string()),
        row("network", dossier, |presenter| {
            let network = presenter.network.map(|network| network.to_string());
            network.unwrap_or_default().chars().take(16).collect()
        }),
        row("agent", dossier, |presenter| {
            presenter.agent.clone().unwrap_or_default()
        }),
        row("client", dossier, |presenter| {
            presenter.authentication.clone().unwrap_or_default()
        }),
    ];
    output::table(["", "FIRST USE", "REPLAY"], &rows)
}

fn row(name: &str, dossier: &Dossier, cell: impl Fn(&Presenter) -> String) -> [String; 3] {
    [name.to_owned(), cell(&dossier.holder), cell(&dossier.presenter)]
}
