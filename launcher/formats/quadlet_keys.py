"""The keys of `[Container]` that podman's quadlet takes; for any other it refuses the whole unit.

Those of podman 5.4 (podman-systemd.unit(5), and tried one by one); later releases have more, so
that only what is near one of these is taken for a slip.
"""

from __future__ import annotations

from launcher.engines.slips import near

RELEASE = "5.4"
KEYS = frozenset(
    """
    AddCapability AddDevice AddHost Annotation AutoUpdate CgroupsMode ContainerName
    ContainersConfModule DNS DNSOption DNSSearch DropCapability Entrypoint Environment
    EnvironmentFile EnvironmentHost Exec ExposeHostPort GIDMap GlobalArgs Group GroupAdd
    HealthCmd HealthInterval HealthLogDestination HealthMaxLogCount HealthMaxLogSize
    HealthOnFailure HealthRetries HealthStartPeriod HealthStartupCmd HealthStartupInterval
    HealthStartupRetries HealthStartupSuccess HealthStartupTimeout HealthTimeout HostName IP
    IP6 Image Label LogDriver LogOpt Mask Mount Network NetworkAlias NoNewPrivileges Notify
    PidsLimit Pod PodmanArgs PublishPort Pull ReadOnly ReadOnlyTmpfs RemapGid RemapUid
    RemapUidSize RemapUsers Rootfs RunInit SeccompProfile Secret SecurityLabelDisable
    SecurityLabelFileType SecurityLabelLevel SecurityLabelNested SecurityLabelType ShmSize
    StartWithPod StopSignal StopTimeout SubGIDMap SubUIDMap Sysctl Timezone Tmpfs UIDMap
    Ulimit Unmask User UserNS VolatileTmp Volume WorkingDir
    """.split()
)


def slip(key: str) -> str | None:
    """The key of which one is a slip, its case too; None for a key, and for any other word."""
    return None if key in KEYS else near(key, KEYS)
