//! Why a server did not answer, in words for whoever typed the command.

use tonic::{Code, Status};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0:?} is not an address: expected HOST:PORT, as in localhost:7117")]
    Address(String),
    /// No answer came, of a server or of none.
    #[error("cannot reach {address}: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("cannot read {path} (client.{setting}): {reason}")]
    Unreadable { setting: &'static str, path: String, reason: std::io::Error },
    #[error("this program is built without TLS: build it with `--features serve-tls`, or leave client.tls_… empty")]
    NoTls,
    /// The question is wrong, not the server.
    #[error("{0}")]
    Question(String),
    #[error("{address} answers {code}: {message}{advice}", code = name(*code))]
    Refused { address: String, code: Code, message: String, advice: &'static str },
    #[error("{0} sent an answer that does not follow the contract: {1}")]
    Contract(String, &'static str),
}

impl ClientError {
    pub fn of(address: &str, status: &Status) -> ClientError {
        let (address, message) = (address.to_owned(), status.message().to_owned());
        let advice = match status.code() {
            Code::InvalidArgument | Code::NotFound => return ClientError::Question(message),
            Code::Unauthenticated | Code::PermissionDenied => " (set MILLRACE_TOKEN, or client.token)",
            Code::Unimplemented => " (the server is of another version)",
            _ => "",
        };
        ClientError::Refused { address, code: status.code(), message, advice }
    }

    /// Whether the command line is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, ClientError::Question(_) | ClientError::Address(_) | ClientError::NoTls)
    }

    /// Whether it may well be over soon: a server that restarts, a connection that broke.
    pub fn passes(&self) -> bool {
        let passing = [Code::Unavailable, Code::Aborted, Code::Unknown, Code::Internal, Code::Cancelled];
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Refused { code, .. } => passing.contains(code),
            _ => false,
        }
    }
}

/// As the codes are called everywhere.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_called_as_everywhere() {
        assert_eq!(name(Code::FailedPrecondition), "FAILED_PRECONDITION");
        assert_eq!(name(Code::Unavailable), "UNAVAILABLE");
    }
}
