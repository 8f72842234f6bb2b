//! Who may call what: a bearer token has a role, a method needs one. Decided without looking at anything else.

use crate::serve::settings::ServeSettings;
use std::net::IpAddr;
use subtle::{Choice, ConstantTimeEq};
use tonic::Status;

/// What a method needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Health and reflection.
    Nothing,
    Read,
    Admin,
}

impl Needs {
    /// By the path of a request. What is not known needs to read, at least.
    pub fn of(path: &str) -> Needs {
        if path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.") {
            Needs::Nothing
        } else if path.starts_with("/millrace.v1.Admin/") {
            Needs::Admin
        } else {
            Needs::Read
        }
    }
}

pub struct Tokens {
    read: Vec<Vec<u8>>,
    admin: Vec<Vec<u8>>,
}

/// Why a call is not allowed.
pub struct Denial {
    pub status: Status,
    /// A token was sent that is none: somebody guesses, or has an old one.
    pub wrong_token: bool,
}

impl Tokens {
    pub fn of(settings: &ServeSettings) -> Tokens {
        let bytes = |tokens: &[String]| tokens.iter().map(|token| token.clone().into_bytes()).collect();
        Tokens { read: bytes(&settings.read_tokens), admin: bytes(&settings.admin_tokens) }
    }

    /// # Errors
    /// UNAUTHENTICATED without a token that is known, PERMISSION_DENIED where it has another role.
    pub fn allow(&self, needs: Needs, authorization: Option<&[u8]>, from: Option<IpAddr>) -> Result<(), Denial> {
        self.decide(needs, authorization, from).map_err(|(status, wrong_token)| Denial { status, wrong_token })
    }

    /// The error says whether a token was sent that is none.
    fn decide(&self, needs: Needs, authorization: Option<&[u8]>, from: Option<IpAddr>) -> Result<(), (Status, bool)> {
        if needs == Needs::Nothing {
            return Ok(());
        }
        if self.read.is_empty() && self.admin.is_empty() {
            let near = from.is_some_and(|address| address.to_canonical().is_loopback());
            return match needs {
                Needs::Admin if !near => {
                    let status = Status::permission_denied(
                        "no tokens are configured, so only callers on the same host may administer: set \
                         serve.admin_tokens",
                    );
                    Err((status, false))
                }
                _ => Ok(()),
            };
        }
        let token = authorization.and_then(bearer);
        let token = token.ok_or_else(|| (Status::unauthenticated("send `authorization: Bearer TOKEN`"), false))?;
        let (reads, administers) = (holds(&self.read, token), holds(&self.admin, token));
        match needs {
            _ if administers => Ok(()),
            Needs::Read if reads => Ok(()),
            Needs::Admin if reads => Err((Status::permission_denied("this token may read and not administer"), false)),
            _ => Err((Status::unauthenticated("the token is not known"), true)),
        }
    }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Takes as long whichever token it is, and wherever a wrong one goes wrong; only its length shows.
fn holds(tokens: &[Vec<u8>], token: &[u8]) -> bool {
    tokens.iter().fold(Choice::from(0), |found, known| found | known.as_slice().ct_eq(token)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tonic::Code;

    fn check(read: &[&str], admin: &[&str], needs: Needs, authorization: Option<&str>, near: bool, expected: Code) {
        let own = |tokens: &[&str]| tokens.iter().map(|token| (*token).to_owned()).collect();
        let settings = ServeSettings { read_tokens: own(read), admin_tokens: own(admin), ..ServeSettings::default() };
        let from = if near { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(10, 1, 2, 3) };
        let allowed = Tokens::of(&settings).allow(needs, authorization.map(str::as_bytes), Some(IpAddr::from(from)));
        let code = allowed.as_ref().map_or_else(|denial| denial.status.code(), |()| Code::Ok);
        let wrong = authorization.is_some_and(|sent| sent.starts_with("Bearer")) && expected == Code::Unauthenticated;
        assert_eq!(allowed.is_err_and(|denial| denial.wrong_token), wrong, "{authorization:?}");
        assert_eq!(code, expected, "{read:?} {admin:?} {needs:?} {authorization:?} {near}");
    }

    #[test]
    fn roles() {
        use Code::{Ok, PermissionDenied, Unauthenticated};
        use Needs::{Admin, Nothing, Read};
        check(&[], &[], Read, None, false, Ok);
        check(&[], &[], Admin, None, true, Ok);
        check(&[], &[], Admin, None, false, PermissionDenied);
        let (read, admin) = (&["r1", "r2"][..], &["a"][..]);
        check(read, admin, Nothing, None, false, Ok);
        for near in [true, false] {
            check(read, admin, Read, None, near, Unauthenticated);
            check(read, admin, Read, Some("Bearer r3"), near, Unauthenticated);
            check(read, admin, Read, Some("Basic r1"), near, Unauthenticated);
            check(read, admin, Read, Some("bearer r2"), near, Ok);
            check(read, admin, Read, Some("Bearer a"), near, Ok);
            check(read, admin, Admin, Some("Bearer r1"), near, PermissionDenied);
            check(read, admin, Admin, Some("Bearer a"), near, Ok);
            check(read, &[], Admin, Some("Bearer r1"), near, PermissionDenied);
            check(&[], admin, Read, None, near, Unauthenticated);
        }
    }

    #[test]
    fn what_methods_need() {
        assert_eq!(Needs::of("/millrace.v1.Admin/Drain"), Needs::Admin);
        assert_eq!(Needs::of("/millrace.v1.Analytics/Query"), Needs::Read);
        assert_eq!(Needs::of("/grpc.health.v1.Health/Check"), Needs::Nothing);
        assert_eq!(Needs::of("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"), Needs::Nothing);
        assert_eq!(Needs::of("/anything"), Needs::Read);
    }
}
