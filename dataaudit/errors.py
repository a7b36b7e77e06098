"""Every error that dataaudit raises on purpose.

    DataAuditError                 the base: catch this one
    ├── SourceError                a source cannot be found, listed or opened at all
    ├── ConfigurationError         a setting, a column name or a combination of options makes no sense
    ├── EncoderError               an encoder is missing, altered or cannot be loaded
    ├── EngineError                the scheduler cannot be reached, or a task failed for good
    ├── AuditDirectoryError        an audit directory is missing, torn or of another schema version
    └── QueryError                 a query was refused or is wrong

A message says what, where, what was expected, what was found, and what to do.  What could not be
read *inside* a source is no error: it is a `dataaudit.model.Skipped` value and ends up in the report.
"""


class DataAuditError(Exception):
    """The base of every deliberate error."""


class SourceError(DataAuditError):
    """A source cannot be found, listed or opened at all."""


class ConfigurationError(DataAuditError):
    """A setting, a column name or a combination of options makes no sense."""


class EncoderError(DataAuditError):
    """An encoder is missing, altered or cannot be loaded."""


class EngineError(DataAuditError):
    """The scheduler cannot be reached, or a task failed for good."""


class AuditDirectoryError(DataAuditError):
    """An audit directory is missing, torn or of another schema version."""


class QueryError(DataAuditError):
    """A query was refused or is wrong."""
