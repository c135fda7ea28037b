//! Attributes: every nest with every field, of both generations.
//!
//! `must` marks the fields that 8.4's headers declare with [`super::MANDATORY`]; on the wire the bit appears on a part of
//! them only (seen: context and `STATE_INFO` of 8.4.11, `PATH_PARMS` of 9.3.3), so receivers mask it and senders leave it out.

use super::Of;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// u8, 0 or 1.
    Flag,
    /// u32.
    U32,
    /// i32.
    S32,
    /// u64.
    U64,
    /// Bytes up to a NUL.
    Text,
    /// Bytes: addresses, arrays of u64.
    Bytes,
}

/// One field of a nest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its number, without flags.
    pub number: u16,
    /// Its name, as in the kernel's structures.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Who has it. A number may stand twice, once for each generation.
    pub of: Of,
    /// Declared with [`super::MANDATORY`] in 8.4.
    pub mandatory: bool,
}

/// One nest: an attribute at the top of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nest {
    /// Its number, without flags.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

macro_rules! mandatory {
    (must) => {
        true
    };
    (plain) => {
        false
    };
}

macro_rules! nests {
    ($($module:ident = $nest:literal { $($constant:ident = $number:literal, $name:literal, $kind:ident, $of:ident, $must:ident;)* })*) => {
        $(
            #[doc = concat!("Fields of the nest `", stringify!($module), "`.")]
            pub mod $module {
                use super::{Field, Kind};
                use crate::netlink::Of;
                /// The nest's number.
                pub const NEST: u16 = $nest;
                $(
                    #[doc = concat!("`", $name, "`, ", stringify!($kind), ".")]
                    pub const $constant: u16 = $number;
                )*
                /// Every field.
                pub const FIELDS: &[Field] = &[$(Field {
                    number: $number,
                    name: $name,
                    kind: Kind::$kind,
                    of: Of::$of,
                    mandatory: mandatory!($must),
                }),*];
            }
        )*
        /// Every nest, by number.
        pub const NESTS: &[Nest] =
            &[$(Nest { number: $nest, name: stringify!($module), fields: $module::FIELDS }),*];
    };
}

nests! {
    cfg_reply = 1 {
        INFO_TEXT = 1, "info_text", Text, Both, must;
    }
    cfg_context = 2 {
        VOLUME = 1, "ctx_volume", U32, Both, must;
        RESOURCE_NAME = 2, "ctx_resource_name", Text, Both, must;
        MY_ADDR = 3, "ctx_my_addr", Bytes, Both, must;
        PEER_ADDR = 4, "ctx_peer_addr", Bytes, Both, must;
        CONN_NAME = 5, "ctx_conn_name", Text, V9, plain;
        PEER_NODE_ID = 6, "ctx_peer_node_id", U32, V9, plain;
    }
    disk_conf = 3 {
        BACKING_DEV = 1, "backing_dev", Text, Both, plain;
        META_DEV = 2, "meta_dev", Text, Both, plain;
        META_DEV_IDX = 3, "meta_dev_idx", S32, Both, plain;
        DISK_SIZE = 4, "disk_size", U64, Both, must;
        MAX_BIO_BVECS = 5, "max_bio_bvecs", U32, V84, must;
        ON_IO_ERROR = 6, "on_io_error", U32, Both, must;
        FENCING = 7, "fencing", U32, V84, must;
        RESYNC_RATE = 8, "resync_rate", U32, V84, must;
        RESYNC_AFTER = 9, "resync_after", S32, Both, must;
        AL_EXTENTS = 10, "al_extents", U32, Both, must;
        C_PLAN_AHEAD = 11, "c_plan_ahead", U32, V84, must;
        C_DELAY_TARGET = 12, "c_delay_target", U32, V84, must;
        C_FILL_TARGET = 13, "c_fill_target", U32, V84, must;
        C_MAX_RATE = 14, "c_max_rate", U32, V84, must;
        C_MIN_RATE = 15, "c_min_rate", U32, V84, must;
        DISK_BARRIER = 16, "disk_barrier", Flag, Both, must;
        DISK_FLUSHES = 17, "disk_flushes", Flag, Both, must;
        DISK_DRAIN = 18, "disk_drain", Flag, Both, must;
        MD_FLUSHES = 19, "md_flushes", Flag, Both, must;
        DISK_TIMEOUT = 20, "disk_timeout", U32, Both, must;
        READ_BALANCING = 21, "read_balancing", U32, Both, plain;
        UNPLUG_WATERMARK = 22, "unplug_watermark", U32, V9, plain;
        AL_UPDATES = 23, "al_updates", Flag, Both, plain;
        DISCARD_ZEROES_IF_ALIGNED = 24, "discard_zeroes_if_aligned", Flag, Both, plain;
        RS_DISCARD_GRANULARITY = 25, "rs_discard_granularity", U32, Both, plain;
        DISABLE_WRITE_SAME = 26, "disable_write_same", Flag, Both, plain;
        D_BITMAP = 27, "d_bitmap", Flag, V9, plain;
    }
    resource_opts = 4 {
        CPU_MASK = 1, "cpu_mask", Text, Both, must;
        ON_NO_DATA = 2, "on_no_data", U32, Both, must;
        AUTO_PROMOTE = 3, "auto_promote", Flag, V9, plain;
        NODE_ID = 4, "node_id", U32, V9, plain;
        PEER_ACK_WINDOW = 5, "peer_ack_window", U32, V9, plain;
        TWOPC_TIMEOUT = 6, "twopc_timeout", U32, V9, plain;
        TWOPC_RETRY_TIMEOUT = 7, "twopc_retry_timeout", U32, V9, plain;
        PEER_ACK_DELAY = 8, "peer_ack_delay", U32, V9, plain;
        AUTO_PROMOTE_TIMEOUT = 9, "auto_promote_timeout", U32, V9, plain;
        NR_REQUESTS = 10, "nr_requests", U32, V9, plain;
        QUORUM = 11, "quorum", S32, V9, plain;
        ON_NO_QUORUM = 12, "on_no_quorum", U32, V9, plain;
        QUORUM_MIN_REDUNDANCY = 13, "quorum_min_redundancy", S32, V9, plain;
        ON_SUSP_PRIMARY_OUTDATED = 14, "on_susp_primary_outdated", U32, V9, plain;
        DRBD8_COMPAT_MODE = 15, "drbd8_compat_mode", Flag, V9, plain;
        EXPLICIT_DRBD8_COMPAT = 16, "explicit_drbd8_compat", Flag, V9, plain;
    }
    net_conf = 5 {
        SHARED_SECRET = 1, "shared_secret", Text, Both, must;
        CRAM_HMAC_ALG = 2, "cram_hmac_alg", Text, Both, must;
        INTEGRITY_ALG = 3, "integrity_alg", Text, Both, must;
        VERIFY_ALG = 4, "verify_alg", Text, Both, must;
        CSUMS_ALG = 5, "csums_alg", Text, Both, must;
        WIRE_PROTOCOL = 6, "wire_protocol", U32, Both, must;
        CONNECT_INT = 7, "connect_int", U32, Both, must;
        TIMEOUT = 8, "timeout", U32, Both, must;
        PING_INT = 9, "ping_int", U32, Both, must;
        PING_TIMEO = 10, "ping_timeo", U32, Both, must;
        SNDBUF_SIZE = 11, "sndbuf_size", U32, Both, must;
        RCVBUF_SIZE = 12, "rcvbuf_size", U32, Both, must;
        KO_COUNT = 13, "ko_count", U32, Both, must;
        MAX_BUFFERS_84 = 14, "max_buffers", U32, V84, must;
        MAX_EPOCH_SIZE = 15, "max_epoch_size", U32, Both, must;
        UNPLUG_WATERMARK = 16, "unplug_watermark", U32, V84, must;
        AFTER_SB_0P = 17, "after_sb_0p", U32, Both, must;
        AFTER_SB_1P = 18, "after_sb_1p", U32, Both, must;
        AFTER_SB_2P = 19, "after_sb_2p", U32, Both, must;
        RR_CONFLICT = 20, "rr_conflict", U32, Both, must;
        ON_CONGESTION = 21, "on_congestion", U32, Both, must;
        CONG_FILL = 22, "cong_fill", U32, Both, must;
        CONG_EXTENTS = 23, "cong_extents", U32, Both, must;
        TWO_PRIMARIES = 24, "two_primaries", Flag, Both, must;
        DISCARD_MY_DATA = 25, "discard_my_data", Flag, V84, must;
        TCP_CORK = 26, "tcp_cork", Flag, Both, must;
        ALWAYS_ASBP = 27, "always_asbp", Flag, Both, must;
        TENTATIVE = 28, "tentative", Flag, V84, must;
        USE_RLE = 29, "use_rle", Flag, Both, must;
        FENCING_POLICY = 30, "fencing_policy", U32, V9, plain;
        NAME = 31, "name", Text, V9, plain;
        CSUMS_AFTER_CRASH_ONLY = 33, "csums_after_crash_only", Flag, Both, plain;
        SOCK_CHECK_TIMEO = 34, "sock_check_timeo", U32, Both, plain;
        MY_ADDR2 = 35, "my_addr2", Bytes, V84, plain;
        TRANSPORT_NAME = 35, "transport_name", Text, V9, plain;
        PEER_ADDR2 = 36, "peer_addr2", Bytes, V84, plain;
        MAX_BUFFERS = 36, "max_buffers", U32, V9, plain;
        ALLOW_REMOTE_READ = 37, "allow_remote_read", Flag, V9, plain;
        TLS = 38, "tls", Flag, V9, plain;
        TLS_PRIVKEY = 39, "tls_privkey", S32, V9, plain;
        TLS_CERTIFICATE = 40, "tls_certificate", S32, V9, plain;
        TLS_KEYRING = 41, "tls_keyring", S32, V9, plain;
        LOAD_BALANCE_PATHS = 42, "load_balance_paths", Flag, V9, plain;
        RDMA_CTRL_RCVBUF_SIZE = 43, "rdma_ctrl_rcvbuf_size", U32, V9, plain;
        RDMA_CTRL_SNDBUF_SIZE = 44, "rdma_ctrl_sndbuf_size", U32, V9, plain;
    }
    set_role_parms = 6 {
        ASSUME_UPTODATE = 1, "assume_uptodate", Flag, V84, must;
        FORCE = 1, "force", Flag, V9, plain;
    }
    resize_parms = 7 {
        RESIZE_SIZE = 1, "resize_size", U64, Both, must;
        RESIZE_FORCE = 2, "resize_force", Flag, Both, must;
        NO_RESYNC = 3, "no_resync", Flag, Both, must;
        AL_STRIPES = 4, "al_stripes", U32, Both, plain;
        AL_STRIPE_SIZE = 5, "al_stripe_size", U32, Both, plain;
    }
    state_info = 8 {
        SIB_REASON = 1, "sib_reason", U32, V84, must;
        CURRENT_STATE = 2, "current_state", U32, V84, plain;
        CAPACITY = 3, "capacity", U64, V84, must;
        ED_UUID = 4, "ed_uuid", U64, V84, must;
        PREV_STATE = 5, "prev_state", U32, V84, must;
        NEW_STATE = 6, "new_state", U32, V84, must;
        UUIDS = 7, "uuids", Bytes, V84, must;
        DISK_FLAGS = 8, "disk_flags", U32, V84, must;
        BITS_TOTAL = 9, "bits_total", U64, V84, must;
        BITS_OOS = 10, "bits_oos", U64, V84, must;
        BITS_RS_TOTAL = 11, "bits_rs_total", U64, V84, must;
        BITS_RS_FAILED = 12, "bits_rs_failed", U64, V84, must;
        HELPER = 13, "helper", Text, V84, must;
        HELPER_EXIT_CODE = 14, "helper_exit_code", U32, V84, must;
        SEND_CNT = 15, "send_cnt", U64, V84, plain;
        RECV_CNT = 16, "recv_cnt", U64, V84, plain;
        READ_CNT = 17, "read_cnt", U64, V84, plain;
        WRIT_CNT = 18, "writ_cnt", U64, V84, plain;
        AL_WRIT_CNT = 19, "al_writ_cnt", U64, V84, plain;
        BM_WRIT_CNT = 20, "bm_writ_cnt", U64, V84, plain;
        AP_BIO_CNT = 21, "ap_bio_cnt", U32, V84, plain;
        AP_PENDING_CNT = 22, "ap_pending_cnt", U32, V84, plain;
        RS_PENDING_CNT = 23, "rs_pending_cnt", U32, V84, plain;
    }
    start_ov_parms = 9 {
        OV_START_SECTOR = 1, "ov_start_sector", U64, Both, must;
        OV_STOP_SECTOR = 2, "ov_stop_sector", U64, Both, must;
    }
    new_c_uuid_parms = 10 {
        CLEAR_BM = 1, "clear_bm", Flag, Both, must;
        FORCE_RESYNC = 2, "force_resync", Flag, V9, plain;
    }
    timeout_parms = 11 {
        TIMEOUT_TYPE = 1, "timeout_type", U32, Both, plain;
    }
    disconnect_parms = 12 {
        FORCE_DISCONNECT = 1, "force_disconnect", Flag, Both, must;
    }
    detach_parms = 13 {
        FORCE_DETACH = 1, "force_detach", Flag, Both, must;
        INTENTIONAL_DISKLESS_DETACH = 2, "intentional_diskless_detach", Flag, V9, plain;
    }
    device_conf = 14 {
        MAX_BIO_SIZE = 1, "max_bio_size", U32, V9, plain;
        INTENTIONAL_DISKLESS = 2, "intentional_diskless", Flag, V9, plain;
        BLOCK_SIZE = 3, "block_size", U32, V9, plain;
        DISCARD_GRANULARITY = 4, "discard_granularity", U32, V9, plain;
    }
    resource_info = 15 {
        ROLE = 1, "res_role", U32, Both, plain;
        SUSP = 2, "res_susp", Flag, Both, plain;
        SUSP_NOD = 3, "res_susp_nod", Flag, Both, plain;
        SUSP_FEN = 4, "res_susp_fen", Flag, Both, plain;
        SUSP_QUORUM = 5, "res_susp_quorum", Flag, V9, plain;
        FAIL_IO = 6, "res_fail_io", Flag, V9, plain;
    }
    device_info = 16 {
        DISK_STATE = 1, "dev_disk_state", U32, Both, plain;
        IS_INTENTIONAL_DISKLESS = 2, "is_intentional_diskless", Flag, V9, plain;
        HAS_QUORUM = 3, "dev_has_quorum", Flag, V9, plain;
        BACKING_DEV_PATH = 4, "backing_dev_path", Text, V9, plain;
        IS_OPEN = 5, "dev_is_open", Flag, V9, plain;
    }
    connection_info = 17 {
        CONNECTION_STATE = 1, "conn_connection_state", U32, Both, plain;
        ROLE = 2, "conn_role", U32, Both, plain;
    }
    peer_device_info = 18 {
        REPL_STATE = 1, "peer_repl_state", U32, Both, plain;
        DISK_STATE = 2, "peer_disk_state", U32, Both, plain;
        RESYNC_SUSP_USER = 3, "peer_resync_susp_user", U32, Both, plain;
        RESYNC_SUSP_PEER = 4, "peer_resync_susp_peer", U32, Both, plain;
        RESYNC_SUSP_DEPENDENCY = 5, "peer_resync_susp_dependency", U32, Both, plain;
        IS_INTENTIONAL_DISKLESS = 6, "peer_is_intentional_diskless", Flag, V9, plain;
        RESYNC_SUSP_MAX_PARALLEL = 7, "peer_resync_susp_max_parallel", U32, V9, plain;
    }
    resource_statistics = 19 {
        WRITE_ORDERING = 1, "res_stat_write_ordering", U32, Both, plain;
    }
    device_statistics = 20 {
        SIZE = 1, "dev_size", U64, Both, plain;
        READ = 2, "dev_read", U64, Both, plain;
        WRITE = 3, "dev_write", U64, Both, plain;
        AL_WRITES = 4, "dev_al_writes", U64, Both, plain;
        BM_WRITES = 5, "dev_bm_writes", U64, Both, plain;
        UPPER_PENDING = 6, "dev_upper_pending", U32, Both, plain;
        LOWER_PENDING = 7, "dev_lower_pending", U32, Both, plain;
        UPPER_BLOCKED = 8, "dev_upper_blocked", Flag, Both, plain;
        LOWER_BLOCKED = 9, "dev_lower_blocked", Flag, Both, plain;
        AL_SUSPENDED = 10, "dev_al_suspended", Flag, Both, plain;
        EXPOSED_DATA_UUID = 11, "dev_exposed_data_uuid", U64, Both, plain;
        CURRENT_UUID = 12, "dev_current_uuid", U64, Both, plain;
        DISK_FLAGS = 13, "dev_disk_flags", U32, Both, plain;
        HISTORY_UUIDS = 14, "history_uuids", Bytes, Both, plain;
    }
    connection_statistics = 21 {
        CONGESTED = 1, "conn_congested", Flag, Both, plain;
        AP_IN_FLIGHT = 2, "ap_in_flight", U64, V9, plain;
        RS_IN_FLIGHT = 3, "rs_in_flight", U64, V9, plain;
    }
    peer_device_statistics = 22 {
        RECEIVED = 1, "peer_dev_received", U64, Both, plain;
        SENT = 2, "peer_dev_sent", U64, Both, plain;
        PENDING = 3, "peer_dev_pending", U32, Both, plain;
        UNACKED = 4, "peer_dev_unacked", U32, Both, plain;
        OUT_OF_SYNC = 5, "peer_dev_out_of_sync", U64, Both, plain;
        RESYNC_FAILED = 6, "peer_dev_resync_failed", U64, Both, plain;
        BITMAP_UUID = 7, "peer_dev_bitmap_uuid", U64, Both, plain;
        FLAGS = 9, "peer_dev_flags", U32, Both, plain;
        RS_TOTAL = 10, "peer_dev_rs_total", U64, V9, plain;
        OV_START_SECTOR = 11, "peer_dev_ov_start_sector", U64, V9, plain;
        OV_STOP_SECTOR = 12, "peer_dev_ov_stop_sector", U64, V9, plain;
        OV_POSITION = 13, "peer_dev_ov_position", U64, V9, plain;
        OV_LEFT = 14, "peer_dev_ov_left", U64, V9, plain;
        OV_SKIPPED = 15, "peer_dev_ov_skipped", U64, V9, plain;
        RS_SAME_CSUM = 16, "peer_dev_rs_same_csum", U64, V9, plain;
        RS_DT_START_MS = 17, "peer_dev_rs_dt_start_ms", U64, V9, plain;
        RS_PAUSED_MS = 18, "peer_dev_rs_paused_ms", U64, V9, plain;
        RS_DT0_MS = 19, "peer_dev_rs_dt0_ms", U64, V9, plain;
        RS_DB0_SECTORS = 20, "peer_dev_rs_db0_sectors", U64, V9, plain;
        RS_DT1_MS = 21, "peer_dev_rs_dt1_ms", U64, V9, plain;
        RS_DB1_SECTORS = 22, "peer_dev_rs_db1_sectors", U64, V9, plain;
        RS_C_SYNC_RATE = 23, "peer_dev_rs_c_sync_rate", U32, V9, plain;
        UUID_FLAGS = 24, "peer_dev_uuid_flags", U64, V9, plain;
    }
    notification_header = 23 {
        NH_TYPE = 1, "nh_type", U32, Both, plain;
    }
    helper = 24 {
        HELPER_NAME = 1, "helper_name", Text, Both, plain;
        HELPER_STATUS = 2, "helper_status", U32, Both, plain;
    }
    invalidate_parms = 25 {
        SYNC_FROM_PEER_NODE_ID = 1, "sync_from_peer_node_id", S32, V9, plain;
        RESET_BITMAP = 2, "reset_bitmap", Flag, V9, plain;
    }
    forget_peer_parms = 26 {
        FORGET_PEER_NODE_ID = 1, "forget_peer_node_id", S32, V9, plain;
    }
    peer_device_conf = 27 {
        RESYNC_RATE = 1, "resync_rate", U32, V9, plain;
        C_PLAN_AHEAD = 2, "c_plan_ahead", U32, V9, plain;
        C_DELAY_TARGET = 3, "c_delay_target", U32, V9, plain;
        C_FILL_TARGET = 4, "c_fill_target", U32, V9, plain;
        C_MAX_RATE = 5, "c_max_rate", U32, V9, plain;
        C_MIN_RATE = 6, "c_min_rate", U32, V9, plain;
        BITMAP = 7, "bitmap", Flag, V9, plain;
        RESYNC_WITHOUT_REPLICATION = 8, "resync_without_replication", Flag, V9, plain;
        PEER_TIEBREAKER = 9, "peer_tiebreaker", Flag, V9, plain;
    }
    path_parms = 28 {
        MY_ADDR = 1, "my_addr", Bytes, V9, plain;
        PEER_ADDR = 2, "peer_addr", Bytes, V9, plain;
    }
    connect_parms = 29 {
        TENTATIVE = 1, "tentative", Flag, V9, plain;
        DISCARD_MY_DATA = 2, "discard_my_data", Flag, V9, plain;
    }
    path_info = 30 {
        PATH_ESTABLISHED = 1, "path_established", Flag, V9, plain;
    }
    rename_resource_parms = 31 {
        NEW_RESOURCE_NAME = 1, "new_resource_name", Text, V9, plain;
    }
    rename_resource_info = 32 {
        RES_NEW_NAME = 1, "res_new_name", Text, V9, plain;
    }
    inval_peer_params = 33 {
        P_RESET_BITMAP = 1, "p_reset_bitmap", Flag, V9, plain;
    }
    suspend_io_params = 34 {
        BDEV_FREEZE = 1, "bdev_freeze", Flag, V9, plain;
    }
}

/// The nest with a number, without flags.
#[must_use]
pub fn nest(number: u16) -> Option<&'static Nest> {
    NESTS.iter().find(|nest| nest.number == number)
}

impl Nest {
    /// The field that a number means in a generation; where only the other generation has it, that one, since modules
    /// between the releases looked at carry some of each other's fields.
    #[must_use]
    pub fn field(&self, number: u16, drbd9: bool) -> Option<&'static Field> {
        let other = if drbd9 { Of::V84 } else { Of::V9 };
        let with = |wanted: &dyn Fn(Of) -> bool| {
            self.fields.iter().find(|field| field.number == number && wanted(field.of))
        };
        with(&|of| of != other).or_else(|| with(&|_| true))
    }
}
