//! `where`: who may write there.

use super::super::output::printable;
use crate::engine::container::whereabouts::{Access, Who};
use crate::engine::idmap;
use serde_json::{Value, json};

/// For people.
pub fn lines(access: Option<&Access>) -> String {
    let Some(access) = access else { return String::new() };
    let mut text = format!(
        "  owner        {}; mode {:04o}\n  process      {}\n",
        who(&access.owner),
        access.mode,
        who(&access.process)
    );
    if let Some((uid, gid)) = access.makes {
        text.push_str(&format!("  its files    will be {} on the host\n", host(uid, gid)));
    }
    let answer = if access.may_write { "yes" } else { "no" };
    text.push_str(&format!("  may write    {answer}: {}\n", printable(&access.why)));
    if let Some(first) = &access.first {
        text.push_str(&format!(
            "  first        {}\n               its mode shuts even its owner out; do that, and then ask again\n",
            printable(first)
        ));
    } else if !access.may_write && access.on_mount && access.cures.is_empty() {
        text.push_str("  cure         none of :U, :idmap and --userns keep-id would change that\n");
    }
    for (index, cure) in access.cures.iter().enumerate() {
        let label = if index == 0 { "  cure         " } else { "  or           " };
        text.push_str(&format!("{label}{}\n               {}\n", printable(&cure.options), printable(&cure.effect)));
    }
    text
}

/// For programs.
pub fn add(row: &mut Value, access: Option<&Access>) {
    row["Owner"] = access.map_or(Value::Null, |access| {
        let mut owner = of(&access.owner);
        owner["Mode"] = format!("{:04o}", access.mode).into();
        owner
    });
    row["Process"] = access.map_or(Value::Null, |access| of(&access.process));
    row["Makes"] = access.and_then(|access| access.makes).map_or(Value::Null, |(uid, gid)| on_host(uid, gid));
    row["MayWrite"] = access.map_or(Value::Null, |access| access.may_write.into());
    row["Why"] = access.map_or(Value::Null, |access| access.why.clone().into());
    let cures = access.map(|access| access.cures.as_slice()).unwrap_or_default().iter();
    let cures = cures.map(|cure| json!({ "Name": cure.name, "Options": cure.options, "Effect": cure.effect }));
    row["Cures"] = cures.collect();
    row["First"] = access.and_then(|access| access.first.clone()).into();
}

fn of(who: &Who) -> Value {
    json!({
        "Uid": who.uid, "Gid": who.gid, "User": who.user, "Group": who.group,
        "OnHost": who.on_host.map(|(uid, gid)| on_host(uid, gid)), "Unmapped": who.unmapped,
    })
}

fn on_host(uid: u32, gid: u32) -> Value {
    json!({ "Uid": uid, "Gid": gid, "User": idmap::user_name(uid), "Group": idmap::group_name(gid) })
}

/// `www-data 33:33 in the container, 165568:165568 on the host`
fn who(who: &Who) -> String {
    let outside = who.on_host.map_or_else(|| "not known".into(), |(uid, gid)| host(uid, gid));
    if who.unmapped {
        return format!("{outside} on the host, nobody in the container");
    }
    let inside = ids(who.uid, who.gid, who.user.as_deref(), who.group.as_deref());
    format!("{inside} in the container, {outside} on the host")
}

fn host(uid: u32, gid: u32) -> String {
    ids(uid, gid, idmap::user_name(uid).as_deref(), idmap::group_name(gid).as_deref())
}

/// `33:33 (www-data:www-data)`; without names where there are none.
fn ids(uid: u32, gid: u32, user: Option<&str>, group: Option<&str>) -> String {
    match (user, group) {
        (None, None) => format!("{uid}:{gid}"),
        (user, group) => {
            let name = |name: Option<&str>| name.map_or_else(|| "?".to_owned(), printable);
            format!("{uid}:{gid} ({}:{})", name(user), name(group))
        }
    }
}
