//! Answer codes: `ret_code` of DRBD's header. 101 is success, what is above is an error, small positive numbers are
//! successful changes of state and negative ones refused changes of state.

/// The request was carried out.
pub const NO_ERROR: i32 = 101;

/// Errors (`ERR_*`), without prefix.
pub const ERRORS: &[(i32, &str)] = &[
    (102, "LOCAL_ADDR"),
    (103, "PEER_ADDR"),
    (104, "OPEN_DISK"),
    (105, "OPEN_MD_DISK"),
    (107, "DISK_NOT_BDEV"),
    (108, "MD_NOT_BDEV"),
    (111, "DISK_TOO_SMALL"),
    (112, "MD_DISK_TOO_SMALL"),
    (114, "BDCLAIM_DISK"),
    (115, "BDCLAIM_MD_DISK"),
    (116, "MD_IDX_INVALID"),
    (118, "IO_MD_DISK"),
    (119, "MD_INVALID"),
    (120, "AUTH_ALG"),
    (121, "AUTH_ALG_ND"),
    (122, "NOMEM"),
    (123, "DISCARD_IMPOSSIBLE"),
    (124, "DISK_CONFIGURED"),
    (125, "NET_CONFIGURED"),
    (126, "MANDATORY_TAG"),
    (127, "MINOR_INVALID"),
    (129, "INTR"),
    (130, "RESIZE_RESYNC"),
    (131, "NO_PRIMARY"),
    (132, "RESYNC_AFTER"),
    (133, "RESYNC_AFTER_CYCLE"),
    (134, "PAUSE_IS_SET"),
    (135, "PAUSE_IS_CLEAR"),
    (137, "PACKET_NR"),
    (138, "NO_DISK"),
    (139, "NOT_PROTO_C"),
    (140, "NOMEM_BITMAP"),
    (141, "INTEGRITY_ALG"),
    (142, "INTEGRITY_ALG_ND"),
    (143, "CPU_MASK_PARSE"),
    (144, "CSUMS_ALG"),
    (145, "CSUMS_ALG_ND"),
    (146, "VERIFY_ALG"),
    (147, "VERIFY_ALG_ND"),
    (148, "CSUMS_RESYNC_RUNNING"),
    (149, "VERIFY_RUNNING"),
    (150, "DATA_NOT_CURRENT"),
    (151, "CONNECTED"),
    (152, "PERM"),
    (153, "NEED_APV_93"),
    (154, "STONITH_AND_PROT_A"),
    (155, "CONG_NOT_PROTO_A"),
    (156, "PIC_AFTER_DEP"),
    (157, "PIC_PEER_DEP"),
    (158, "RES_NOT_KNOWN"),
    (159, "RES_IN_USE"),
    (160, "MINOR_CONFIGURED"),
    (161, "MINOR_OR_VOLUME_EXISTS"),
    (162, "INVALID_REQUEST"),
    (163, "NEED_APV_100"),
    (164, "NEED_ALLOW_TWO_PRI"),
    (165, "MD_UNCLEAN"),
    (166, "MD_LAYOUT_CONNECTED"),
    (167, "MD_LAYOUT_TOO_BIG"),
    (168, "MD_LAYOUT_TOO_SMALL"),
    (169, "MD_LAYOUT_NO_FIT"),
    (170, "IMPLICIT_SHRINK"),
    (171, "INVALID_PEER_NODE_ID"),
    (172, "CREATE_TRANSPORT"),
    (173, "LOCAL_AND_PEER_ADDR"),
    (174, "ALREADY_EXISTS"),
    (175, "APV_TOO_LOW"),
    (176, "PATH_COLLISION"),
];

/// Outcomes of changes of state (`SS_*`), without prefix.
pub const STATE_CHANGES: &[(i32, &str)] = &[
    (4, "CW_NO_NEED"),
    (3, "CW_SUCCESS"),
    (2, "NOTHING_TO_DO"),
    (1, "SUCCESS"),
    (0, "UNKNOWN_ERROR"),
    (-1, "TWO_PRIMARIES"),
    (-2, "NO_UP_TO_DATE_DISK"),
    (-4, "NO_LOCAL_DISK"),
    (-5, "NO_REMOTE_DISK"),
    (-6, "CONNECTED_OUTDATES"),
    (-7, "PRIMARY_NOP"),
    (-8, "RESYNC_RUNNING"),
    (-9, "ALREADY_STANDALONE"),
    (-10, "CW_FAILED_BY_PEER"),
    (-11, "IS_DISKLESS"),
    (-12, "DEVICE_IN_USE"),
    (-13, "NO_NET_CONFIG"),
    (-14, "NO_VERIFY_ALG"),
    (-15, "NEED_CONNECTION"),
    (-16, "LOWER_THAN_OUTDATED"),
    (-17, "NOT_SUPPORTED"),
    (-18, "IN_TRANSIENT_STATE"),
    (-19, "CONCURRENT_ST_CHG"),
    (-20, "O_VOL_PEER_PRI"),
    (-21, "INTERRUPTED"),
    (-22, "PRIMARY_READER"),
    (-23, "TIMEOUT"),
    (-24, "WEAKLY_CONNECTED"),
    (-25, "NO_QUORUM"),
    (-26, "ATTACH_NO_BITMAP"),
    (-27, "HANDSHAKE_DISCONNECT"),
    (-28, "HANDSHAKE_RETRY"),
];

/// The name of a code, with its prefix in front: `("ERR_", "PERM")`.
#[must_use]
pub fn name(code: i32) -> Option<(&'static str, &'static str)> {
    if code == NO_ERROR {
        return Some(("", "NO_ERROR"));
    }
    let find =
        |table: &[(i32, &'static str)]| table.iter().find(|(known, _)| *known == code).map(|(_, name)| *name);
    find(ERRORS).map(|name| ("ERR_", name)).or_else(|| find(STATE_CHANGES).map(|name| ("SS_", name)))
}

/// Whether a code means that the request was carried out.
#[must_use]
pub fn is_success(code: i32) -> bool {
    code == NO_ERROR || (1..=4).contains(&code)
}
