"""Store `mongodb`: a MongoDB server, or a replica set."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, Secret

from connectors.sinks.kind import StoreKind

_URL = re.compile(r"(mongodb(?:\+srv)?://)(?:[^@/]*@)?([^@/?]+)(?:/.*)?", re.DOTALL)


class MongoUrl(Secret[str]):
    """The address of a server; what shows it leaves its user and its options out."""

    def _display(self) -> str:
        found = _URL.fullmatch(self.get_secret_value())
        return "".join(found.groups()) if found else "***"


def _url(url: MongoUrl) -> MongoUrl:
    if not _URL.fullmatch(url.get_secret_value()):
        raise ValueError(
            "must be mongodb://user:password@host:port, or mongodb+srv; "
            "in user and password, percent-encode what is not a letter or a digit"
        )
    return url


def _database(name: str) -> str:
    # mongodb.com/docs/manual/reference/limits, "Naming Restrictions"
    if not re.fullmatch(r'[^/\\. "$*<>:|?\0]{1,63}', name):
        raise ValueError('it must have 1 to 63 characters, and none of /\\. "$*<>:|?')
    return name


class MongoSettings(BaseModel):
    """What `Settings` has for MongoDB."""

    mongodb_url: Annotated[MongoUrl, AfterValidator(_url)] = Field(
        MongoUrl("mongodb://127.0.0.1:27017"),
        description="The server of STORE=mongodb: user, password, hosts, and options such as "
        "`?replicaSet=rs0&tls=true&authSource=admin`; or mongodb+srv.",
        repr=False,
    )
    mongodb_database: Annotated[str, AfterValidator(_database)] = Field(
        "logwax", description="Database of STORE=mongodb; it is made where it is missing."
    )


MONGODB = StoreKind(
    "mongodb",
    "the MongoDB server at MONGODB_URL.",
    "connectors.sinks.mongodb.store",
    MongoSettings,
    is_shared=True,
    address=lambda settings: settings.mongodb_url,
)
