//! Why there is no answer, in the codes of gRPC. The words are the same on every wire.

use crate::serve::callers::auth::{Denial, Reason};
use crate::serve::callers::memory::Full;
use crate::serve::read::{Kind, ReadError};
use tonic::{Code, Status};

fn code(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::TooLarge | Kind::Busy => Code::ResourceExhausted,
        Kind::Unmet => Code::FailedPrecondition,
        Kind::Unavailable => Code::Unavailable,
        Kind::Late => Code::DeadlineExceeded,
        Kind::Expired | Kind::Stalled => Code::Aborted,
        Kind::Gone => Code::Cancelled,
        Kind::Defect => Code::Internal,
    }
}

impl From<ReadError> for Status {
    fn from(error: ReadError) -> Status {
        Status::new(code(error.kind), error.text)
    }
}

/// The transport has no room: said as a read would say it.
pub fn full(full: Full) -> Status {
    ReadError::from(full).into()
}

pub fn denied(denial: &Denial) -> Status {
    match denial.reason {
        Reason::Unknown => Status::unauthenticated(denial.text),
        Reason::Forbidden => Status::permission_denied(denial.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_code_and_keeps_its_words() {
        let all = [
            (Kind::Invalid, Code::InvalidArgument),
            (Kind::NotFound, Code::NotFound),
            (Kind::TooLarge, Code::ResourceExhausted),
            (Kind::Busy, Code::ResourceExhausted),
            (Kind::Unmet, Code::FailedPrecondition),
            (Kind::Unavailable, Code::Unavailable),
            (Kind::Late, Code::DeadlineExceeded),
            (Kind::Expired, Code::Aborted),
            (Kind::Stalled, Code::Aborted),
            (Kind::Gone, Code::Cancelled),
            (Kind::Defect, Code::Internal),
        ];
        for (kind, code) in all {
            let status = Status::from(ReadError::new(kind, "why").with("rows", 7));
            assert_eq!((status.code(), status.message(), status.details()), (code, "why", &[][..]));
        }
        let short = full(Full { who: "callers", most: 1_000 });
        assert_eq!(short.code(), Code::ResourceExhausted);
        assert!(short.message().contains("serve.memory_bytes = 1000"), "{short:?}");
        let denial = |reason| denied(&Denial { reason, text: "why", wrong_token: false }).code();
        assert_eq!([Reason::Unknown, Reason::Forbidden].map(denial), [Code::Unauthenticated, Code::PermissionDenied]);
    }
}
