//! `medusa check`: what a script would make, without making it.

use medusa_proto::status::{Field, Status, Value};
use medusa_script::{Program, RustHandlers, ScriptError};

use crate::target::Target;
use crate::term;

/// Prints the site that the script describes, as a tree of what the script says, and a verdict behind it; or all of it as
/// JSON, and an error, too. What the script itself prints goes to standard error, beside that.
///
/// # Errors
///
/// What a start would fail with, rendered with its source line, and the verdict.
pub(crate) fn check(target: &Target, handlers: RustHandlers, json: bool) -> Result<(), String> {
    let program = Program { handlers, ..target.program(Vec::new(), None) };
    let checked = medusa_script::check(program, term::aside);
    let status = match checked {
        Ok(status) => status,
        Err(error) => {
            if json {
                term::answer(format_args!("{:#}", described(&error)));
            }
            // A script ends at its first error.
            let verdict = format!("1 error in {}", target.path().display());
            return Err(format!("{}\n{verdict}", error.render().trim_end()));
        }
    };
    if json {
        let text = serde_json::to_string_pretty(&status);
        term::answer(text.map_err(|error| format!("the status has no form in JSON: {error}"))?);
    } else {
        term::answer_tree(&brief(&status).to_string());
        term::answer(format_args!("ok: {}", verdict(&status)));
    }
    Ok(())
}

/// An error, for a program.
fn described(error: &ScriptError) -> serde_json::Value {
    let (file, line) = error.place().unzip();
    serde_json::json!({ "error": { "message": error.to_string(), "file": file, "line": line } })
}

/// Without what only a running server has to say: counts, sizes, whether it fails. A mount is one line with its
/// handler, and where the script says something stands behind it.
fn brief(status: &Status) -> Status {
    let mut shown = Status::new(status.kind, status.name.clone());
    for Field { name, value, .. } in &status.fields {
        if let Value::Text(text) = value
            && *name != "origin"
        {
            shown = shown.field(name, text.as_str());
        }
    }
    let is_empty =
        |child: &Status| child.fields.is_empty() && child.children.is_empty() && child.name.is_empty();
    let mut children: Vec<Status> =
        status.children.iter().map(brief).filter(|child| !is_empty(child)).collect();
    if status.kind == "mount"
        && let [handler] = children.as_slice()
        && handler.fields.is_empty()
        && handler.children.is_empty()
    {
        shown.name = format!("{}: {} {}", shown.name, handler.kind, handler.name);
        children.clear();
    }
    if let Some(Value::Text(origin)) = status.get("origin")
        && !shown.name.ends_with(origin.as_str())
    {
        shown.name = format!("{} ({origin})", shown.name);
    }
    shown.children(children)
}

/// The verdict: the number of each thing that people count.
fn verdict(status: &Status) -> String {
    let count = |is: &dyn Fn(&Status) -> bool, one: &str| match count(status, is) {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    };
    let servers = count(&|part| part.kind == "http", "server");
    let mounts = count(&|part| part.kind == "mount", "mount");
    let logs = count(&|part| part.kind.starts_with("log.") && part.children.is_empty(), "log");
    format!("{servers}, {mounts}, {logs}")
}

fn count(status: &Status, is: &dyn Fn(&Status) -> bool) -> usize {
    usize::from(is(status)) + status.children.iter().map(|child| count(child, is)).sum::<usize>()
}
