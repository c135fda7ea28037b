//! DRBD's messages to reports.

use super::attribute::{Attribute, Fields, attributes};
use super::sections as section;
use super::{FramingError, array, ne32};
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::report::{Report, Unread};
use drbd_sys::netlink::attribute as nest;
use drbd_sys::netlink::{self as drbd, generic as sys};

/// Reads a message of DRBD, from behind the netlink header. `generation` is the family's; `sequence` the header's.
///
/// # Errors
/// [`FramingError`], with offsets from the start of the body, or for a nest from the start of that nest.
pub fn read(generation: Generation, sequence: u32, body: &[u8]) -> Result<Report, FramingError> {
    let needed = sys::GENL_HEADER_BYTES + drbd::HEADER_BYTES;
    let parts = || {
        Some((array::<1>(body, 0)?, ne32(body, sys::GENL_HEADER_BYTES)?, ne32(body, 8)?, body.get(needed..)?))
    };
    let Some(([command], minor, code, rest)) = parts() else {
        return Err(FramingError::Truncated { what: "DRBD's header", at: 0, left: body.len(), needed });
    };
    let mut report = Report::empty(generation, command, sequence);
    report.minor = (minor != drbd::NO_MINOR).then_some(minor);
    report.code = i32::from_ne_bytes(code.to_ne_bytes());
    for top in attributes(rest)? {
        if nest::nest(top.number).is_none() {
            keep(&mut report, 0, top);
            continue;
        }
        let fields = Fields::of(top.bytes)?;
        read_nest(&mut report, top.number, &fields);
        for field in fields.unread() {
            keep(&mut report, top.number, field);
        }
    }
    Ok(report)
}

fn read_nest(report: &mut Report, number: u16, fields: &Fields<'_>) {
    let generation = report.generation;
    match number {
        nest::cfg_reply::NEST => {
            // Read, whatever of it fits.
            let _ = fields.bytes(nest::cfg_reply::INFO_TEXT);
            let texts = fields.all().iter().filter(|field| field.number == nest::cfg_reply::INFO_TEXT);
            let room = Report::MOST_UNREAD.saturating_sub(report.info.len());
            report.info.extend(texts.take(room).map(|field| super::attribute::text(field.bytes)));
        }
        nest::cfg_context::NEST => report.context = section::context(fields),
        nest::disk_conf::NEST => report.disk_options = Some(section::disk_options(fields, generation)),
        nest::resource_opts::NEST => {
            report.resource_options = Some(section::resource_options(fields, generation))
        }
        nest::net_conf::NEST => report.net_options = Some(section::net_options(fields, generation)),
        nest::state_info::NEST => report.state84 = Some(section::state84(fields, generation)),
        nest::device_conf::NEST => {
            report.device_options = Some(section::settings(fields, number, generation))
        }
        nest::resource_info::NEST => report.resource = Some(section::resource(fields)),
        nest::device_info::NEST => report.device = Some(section::device(fields, generation)),
        nest::connection_info::NEST => report.connection = Some(section::connection(fields)),
        nest::peer_device_info::NEST => report.peer_device = Some(section::peer_device(fields, generation)),
        nest::resource_statistics::NEST => {
            report.resource_statistics = Some(section::resource_statistics(fields))
        }
        nest::device_statistics::NEST => report.device_statistics = Some(section::device_statistics(fields)),
        nest::connection_statistics::NEST => {
            report.connection_statistics = Some(section::connection_statistics(fields));
        }
        nest::peer_device_statistics::NEST => {
            report.peer_device_statistics = Some(section::peer_device_statistics(fields, generation));
        }
        nest::notification_header::NEST => report.notice = section::notice(fields),
        nest::helper::NEST => report.handler = Some(section::handler(fields)),
        nest::peer_device_conf::NEST => {
            report.peer_device_options = Some(section::settings(fields, number, generation));
        }
        nest::path_parms::NEST => report.paths.get_or_insert_default().extend(section::paths(fields)),
        nest::path_info::NEST => report.path_established = fields.flag(nest::path_info::PATH_ESTABLISHED),
        nest::rename_resource_info::NEST => {
            report.renamed_to = fields.text(nest::rename_resource_info::RES_NEW_NAME);
        }
        // Parameters of requests: the kernel does not send them.
        _ => {}
    }
}

fn keep(report: &mut Report, nest: u16, field: Attribute<'_>) {
    if field.number == 0 {
        return; // Padding.
    }
    if report.unread.len() < Report::MOST_UNREAD {
        report.unread.push(Unread { nest, field: field.number, bytes: field.bytes.to_vec() });
    } else {
        report.unread_left_out = report.unread_left_out.saturating_add(1);
    }
}
