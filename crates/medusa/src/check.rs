//! `medusa check`: what a script would make, without making it.

use medusa_script::ScriptError;

use crate::target::Target;
use crate::term;

/// Prints the site that the script describes, as a tree or as JSON.
///
/// # Errors
///
/// What a start would fail with, rendered with its source line.
pub(crate) fn check(target: &Target, json: bool) -> Result<(), String> {
    let render = |error: ScriptError| error.render();
    let status = medusa_script::check(target.program(Vec::new(), None)).map_err(render)?;
    if json {
        let text = serde_json::to_string_pretty(&status);
        term::answer(text.map_err(|error| format!("the status has no form in JSON: {error}"))?);
    } else {
        term::answer_tree(&status.to_string());
    }
    Ok(())
}
