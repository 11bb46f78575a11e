//! How things end here: with any error there is, since whatever fails is only printed.

/// The error of anything.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The result of anything.
pub type Outcome<T = ()> = Result<T, Failure>;

/// What went wrong, and why, and why that.
pub fn with_causes(failure: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(failure.source(), |cause| cause.source());
    causes.fold(failure.to_string(), |text, cause| format!("{text}: {cause}"))
}
