//! Rows of an `ls`: Docker's default table, `table …`, a plain template, `json`, or ids alone.

use super::template::{Datum, Fields, Template};
use crate::cli::output;
use crate::error::{Error, Result};
use crate::store::bounds;
use serde_json::{Map, Value};

/// Prints `rows` (one object each, with Docker's keys) as `format` says: nothing or `table` for the default table of
/// `columns` (header, key), `table {{.Key}}…`, a template for each row, or `json`, one object a line.
/// `quiet` names the key to print alone, where `-q` was given.
pub fn print(columns: &[(&str, &str)], rows: &[Value], format: Option<&str>, quiet: Option<&str>) -> Result<()> {
    output::bytes(render(columns, rows, format, quiet)?.as_bytes())
}

/// What [`print`] prints.
pub fn render(columns: &[(&str, &str)], rows: &[Value], format: Option<&str>, quiet: Option<&str>) -> Result<String> {
    let (is_table, text) = match (quiet, format.map(str::trim).unwrap_or_default()) {
        (Some(key), _) => (false, format!("{{{{.{key}}}}}")),
        (None, "json") => (false, "{{json .}}".to_owned()),
        (None, "" | "table") => (true, default_template(columns)),
        (None, format) => match format.strip_prefix("table") {
            Some(template) => (true, template.trim().to_owned()),
            None => (false, format.to_owned()),
        },
    };
    let template = Template::parse(&text.replace("\\t", "\t").replace("\\n", "\n"))?;
    let mut shown = String::new();
    if is_table {
        shown.push_str(&template.header(&headers(columns, rows))?);
        shown.push('\n');
    }
    for row in rows {
        shown.push_str(&template.execute(&Datum::of(&sorted(row)), Fields::OfRow)?);
        shown.push('\n');
        if shown.len() > bounds::TEMPLATE {
            return Err(Error::new(format!("the rows would take more than {} MiB", bounds::TEMPLATE >> 20)));
        }
    }
    if is_table { aligned(&shown) } else { Ok(shown) }
}

/// Refuses a template that asks for a key which no row can have, even where there are no rows.
pub fn check(format: Option<&str>, row: &Value) -> Result<()> {
    render(&[], std::slice::from_ref(row), format, None).map(drop)
}

fn default_template(columns: &[(&str, &str)]) -> String {
    columns.iter().map(|(_, key)| format!("{{{{.{key}}}}}")).collect::<Vec<_>>().join("\t")
}

/// The header of each key: what `columns` say, or the key in capitals (`CreatedAt` is `CREATED AT`).
fn headers(columns: &[(&str, &str)], rows: &[Value]) -> Value {
    let mut headers = Map::new();
    for key in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        headers.entry(key.as_str()).or_insert_with(|| spelled_out(key).into());
    }
    for (header, key) in columns {
        headers.insert((*key).to_owned(), (*header).into());
    }
    Value::Object(headers)
}

fn spelled_out(key: &str) -> String {
    let mut header = String::new();
    let mut before_was_lower = false;
    for letter in key.chars() {
        if letter.is_uppercase() && before_was_lower {
            header.push(' ');
        }
        before_was_lower = letter.is_lowercase();
        header.extend(letter.to_uppercase());
    }
    header
}

/// Docker prints the keys of a row in the order of the alphabet.
fn sorted(row: &Value) -> Value {
    let Some(object) = row.as_object() else { return row.clone() };
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    Value::Object(entries.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

const LEAST_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Turns tabs into columns, as Go's tabwriter does: a column is as wide as its widest cell and three spaces, and ten at
/// least; what follows the last tab of a line belongs to no column. A column ends at a line that has no cell in it.
pub fn aligned(text: &str) -> Result<String> {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|line| vec![0; line.len() - 1]).collect();
    for column in 0..widths.iter().map(Vec::len).max().unwrap_or(0) {
        let mut from = 0;
        while from < lines.len() {
            let end = (from..lines.len()).find(|line| widths[*line].len() <= column).unwrap_or(lines.len());
            let wide = (from..end).map(|line| lines[line][column].chars().count() + PADDING).max().unwrap_or(0);
            widths[from..end].iter_mut().for_each(|widths| widths[column] = wide.max(LEAST_WIDTH));
            from = end + 1;
        }
    }
    // One wide cell makes all others of its column as wide.
    if widths.iter().flatten().sum::<usize>() > bounds::TEMPLATE {
        return Err(Error::new(format!("the table would take more than {} MiB", bounds::TEMPLATE >> 20)));
    }
    let mut shown = String::new();
    for (line, widths) in lines.iter().zip(&widths) {
        for (index, cell) in line.iter().enumerate() {
            shown.push_str(cell);
            if let Some(width) = widths.get(index) {
                shown.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        shown.push('\n');
    }
    // The last newline of the text is not one more line.
    shown.pop();
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: &[(&str, &str)] =
        &[("CONTAINER ID", "ID"), ("IMAGE", "Image"), ("PORTS", "Ports"), ("NAMES", "Names")];

    fn rows() -> Vec<Value> {
        vec![json!({"ID": "65abc365c547", "Image": "nginx", "Ports": "", "Names": "dd", "LocalVolumes": "1"})]
    }

    #[test]
    fn the_default_table_is_dockers() {
        assert_eq!(
            render(COLUMNS, &rows(), None, None).unwrap(),
            "CONTAINER ID   IMAGE     PORTS     NAMES\n65abc365c547   nginx               dd\n"
        );
        assert_eq!(render(COLUMNS, &[], Some("table"), None).unwrap(), "CONTAINER ID   IMAGE     PORTS     NAMES\n");
    }

    #[test]
    fn a_table_of_ones_own_has_headers_too() {
        assert_eq!(
            render(COLUMNS, &rows(), Some("table {{.Names}}\\t{{.LocalVolumes}}"), None).unwrap(),
            "NAMES     LOCAL VOLUMES\ndd        1\n"
        );
        assert_eq!(
            render(COLUMNS, &rows(), Some("table {{upper .Names}}\\t{{truncate .ID 3}}"), None).unwrap(),
            "NAMES     CONTAINER ID\nDD        65a\n"
        );
    }

    #[test]
    fn a_template_is_filled_for_each_row_and_json_is_one_object_a_line() {
        assert_eq!(render(COLUMNS, &rows(), Some("{{.Names}}\\t{{.Image}}"), None).unwrap(), "dd\tnginx\n");
        assert_eq!(render(COLUMNS, &rows(), None, Some("ID")).unwrap(), "65abc365c547\n");
        assert_eq!(
            render(COLUMNS, &rows(), Some("json"), None).unwrap(),
            "{\"ID\":\"65abc365c547\",\"Image\":\"nginx\",\"LocalVolumes\":\"1\",\"Names\":\"dd\",\"Ports\":\"\"}\n"
        );
    }

    #[test]
    fn a_label_is_asked_for_by_its_key() {
        let rows = [json!({"Labels": "a=1,b=x,y,c=", "Names": "n"})];
        assert_eq!(
            render(&[], &rows, Some("{{.Label \"b\"}}|{{.Label \"a\"}}|{{.Label \"z\"}}"), None).unwrap(),
            "x,y|1|\n"
        );
    }

    #[test]
    fn a_column_ends_where_a_line_lacks_it() {
        assert_eq!(aligned("a\tb\nlonger than ten\tc\n").unwrap(), "a                 b\nlonger than ten   c\n");
        assert_eq!(aligned("a\tb\nno cell here\nc\td\n").unwrap(), "a         b\nno cell here\nc         d\n");
        assert_eq!(aligned("a\t\n").unwrap(), "a         \n");
        assert_eq!(aligned("").unwrap(), "");
    }
}
