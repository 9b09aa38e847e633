/* A scenario-driven stand-in for libnvidia-ml.so.1, for tests: the real nvidia-ml-py loads it.
 *
 *   NVML_SHIM_SCENARIO=/path/to/file   "key = value" lines, '#' comments
 *   NVML_SHIM_LOG=/path                append one line per call (process, name, device)
 *
 * R is nvmlReturn_t, U and UL are unsigned int and unsigned long long, D is nvmlDevice_t.
 *
 * Look-up order for a device key:  gpu.<i>.<key>  then  gpu.*.<key>.
 * A missing key makes the call return NVML_ERROR_NOT_SUPPORTED, as on a board
 * that lacks the feature.  Faults, first match wins:
 *   fail.<i>.<function> = <ERROR NAME or number>
 *   fail.<function>     = ...
 *   lost.<i>            = 1        every device call -> GPU_IS_LOST
 *   fail.<i>.handle     = ...      there is no handle for this GPU
 *   delay_ms.<function> = N        the call takes that long (a hung driver)
 * The file is read again whenever its mtime or size changes, so that a test can
 * flip a state under a running process.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef int R;
typedef unsigned int U;
typedef unsigned long long UL;
typedef struct dev {
    int idx;
} *D;

enum {
    OK = 0,
    UNINIT = 1,
    INVAL = 2,
    NOTSUP = 3,
    NOPERM = 4,
    NOTFOUND = 6,
    SMALL = 7,
    NODRV = 9,
    TIMEOUT = 10,
    LOST = 15,
    VERMIS = 25,
    UNKNOWN = 999
};
static const struct {
    const char *n;
    int v;
    const char *s;
} ERR[] = {{"OK", 0, "Success"},
           {"UNINITIALIZED", 1, "Uninitialized"},
           {"INVALID_ARGUMENT", 2, "Invalid Argument"},
           {"NOT_SUPPORTED", 3, "Not Supported"},
           {"NO_PERMISSION", 4, "Insufficient Permissions"},
           {"NOT_FOUND", 6, "Not Found"},
           {"INSUFFICIENT_SIZE", 7, "Insufficient Size"},
           {"DRIVER_NOT_LOADED", 9, "Driver Not Loaded"},
           {"TIMEOUT", 10, "Timeout"},
           {"IRQ_ISSUE", 11, "Interrupt Request Issue"},
           {"CORRUPTED_INFOROM", 14, "infoROM is corrupted"},
           {"GPU_IS_LOST", 15, "GPU is lost"},
           {"RESET_REQUIRED", 16, "GPU requires restart"},
           {"OPERATING_SYSTEM", 17, "The operating system has blocked the request"},
           {"LIB_RM_VERSION_MISMATCH", 18, "Driver/library version mismatch"},
           {"IN_USE", 19, "In use by another client"},
           {"MEMORY", 20, "Insufficient Memory"},
           {"NO_DATA", 21, "No data"},
           {"ARGUMENT_VERSION_MISMATCH", 25, "Version mismatch"},
           {"NOT_READY", 27, "Not ready"},
           {"GPU_NOT_FOUND", 28, "No GPUs were found"},
           {"INVALID_STATE", 29, "Invalid state"},
           {"UNKNOWN", 999, "Unknown Error"}};

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct kv {
    char *k, *v;
} *kv;
static size_t nkv;
static struct timespec mt;
static off_t msz = -1;
static int inited;
static struct dev DEV[64];
static struct timespec t0;

static char *trim(char *s) {
    while (*s == ' ' || *s == '\t')
        s++;
    char *e = s + strlen(s);
    while (e > s && (e[-1] == ' ' || e[-1] == '\t' || e[-1] == '\n' || e[-1] == '\r'))
        *--e = 0;
    return s;
}
static int cmpk(const void *a, const void *b) {
    return strcmp(((const struct kv *)a)->k, ((const struct kv *)b)->k);
}
static void load(void) {
    const char *p = getenv("NVML_SHIM_SCENARIO");
    struct stat st;
    if (!p || stat(p, &st))
        return;
    if (st.st_size == msz && st.st_mtim.tv_sec == mt.tv_sec && st.st_mtim.tv_nsec == mt.tv_nsec)
        return;
    FILE *f = fopen(p, "re");
    if (!f)
        return;
    /* old strings are leaked on purpose: another thread may still hold one */
    struct kv *n = NULL;
    size_t c = 0, cap = 0;
    char *l = NULL;
    size_t ls = 0;
    while (getline(&l, &ls, f) > 0) {
        char *s = trim(l);
        if (!*s || *s == '#')
            continue;
        char *e = strchr(s, '=');
        if (!e)
            continue;
        *e = 0;
        if (c == cap) {
            cap = cap ? cap * 2 : 256;
            n = realloc(n, cap * sizeof *n);
        }
        n[c].k = strdup(trim(s));
        n[c].v = strdup(trim(e + 1));
        c++;
    }
    free(l);
    fclose(f);
    if (c)
        qsort(n, c, sizeof *n, cmpk);
    kv = n;
    nkv = c;
    msz = st.st_size;
    mt = st.st_mtim;
}
static const char *get(const char *fmt, ...) {
    char b[256];
    va_list a;
    va_start(a, fmt);
    vsnprintf(b, sizeof b, fmt, a);
    va_end(a);
    struct kv q = {b, 0};
    pthread_mutex_lock(&mu);
    load();
    struct kv *r = nkv ? bsearch(&q, kv, nkv, sizeof *kv, cmpk) : NULL;
    const char *v = r ? r->v : NULL;
    pthread_mutex_unlock(&mu);
    return v;
}
static const char *dget(D d, const char *k) {
    const char *v = get("gpu.%d.%s", d->idx, k);
    return v ? v : get("gpu.*.%s", k);
}
static int err(const char *s) {
    if (!s)
        return OK;
    char *e;
    long n = strtol(s, &e, 10);
    if (e != s && !*e)
        return (int)n;
    for (size_t i = 0; i < sizeof ERR / sizeof *ERR; i++)
        if (!strcasecmp(s, ERR[i].n))
            return ERR[i].v;
    return UNKNOWN;
}
static int count(void) {
    const char *v = get("gpu.count");
    return v ? atoi(v) : 0;
}
static int valid(D d) {
    return d >= DEV && d < DEV + 64 && d->idx < count();
}
static void logc(const char *fn, int i) {
    const char *p = getenv("NVML_SHIM_LOG");
    if (!p)
        return;
    FILE *f = fopen(p, "ae");
    if (!f)
        return;
    if (i >= 0)
        fprintf(f, "%d %s %d\n", (int)getpid(), fn, i);
    else
        fprintf(f, "%d %s\n", (int)getpid(), fn);
    fclose(f);
}
static void delay(const char *fn) {
    const char *v = get("delay_ms.%s", fn);
    if (v)
        usleep(1000 * (useconds_t)atoi(v));
}
static int enter(const char *fn) {
    logc(fn, -1);
    delay(fn);
    if (!inited)
        return UNINIT;
    return err(get("fail.%s", fn));
}
static int denter(const char *fn, D d) {
    if (!inited) {
        logc(fn, -1);
        return UNINIT;
    }
    if (!valid(d)) {
        logc(fn, -2);
        return INVAL;
    }
    logc(fn, d->idx);
    delay(fn);
    if (get("lost.%d", d->idx))
        return LOST;
    const char *v = get("fail.%d.%s", d->idx, fn);
    return err(v ? v : get("fail.%s", fn));
}
#define SYS                                                                                                  \
    R e_ = enter(__func__);                                                                                  \
    if (e_)                                                                                                  \
    return e_
#define DEVC                                                                                                 \
    R e_ = denter(__func__, d);                                                                              \
    if (e_)                                                                                                  \
    return e_
#define API __attribute__((visibility("default")))
static R num(D d, const char *k, UL *o) {
    const char *v = dget(d, k);
    if (!v)
        return NOTSUP;
    *o = strtoull(v, 0, 0);
    return OK;
}
static R unum(D d, const char *k, U *o) {
    UL x;
    R r = num(d, k, &x);
    if (!r)
        *o = (U)x;
    return r;
}
static R str(const char *v, char *o, U n) {
    if (!v)
        return NOTSUP;
    if (strlen(v) + 1 > n)
        return SMALL;
    strcpy(o, v);
    return OK;
}
static int at(const char *v, int i, long *o) { /* i-th comma-separated number */
    while (v && i-- > 0) {
        v = strchr(v, ',');
        if (v)
            v++;
    }
    if (!v)
        return 0;
    *o = strtol(v, 0, 0);
    return 1;
}

static R pair(D d, const char *k, U *a, U *b) {
    const char *v = dget(d, k);
    if (!v)
        return NOTSUP;
    *a = *b = (U)atoi(v);
    const char *c = strchr(v, ',');
    if (c)
        *b = (U)atoi(c + 1);
    return OK;
}

/* A call that gives one number, one text, or a current and a pending mode. */
#define NUMBER(name, key)                                                                                    \
    API R name(D d, U *o) {                                                                                  \
        DEVC;                                                                                                \
        return unum(d, key, o);                                                                              \
    }
#define TEXT(name, key)                                                                                      \
    API R name(D d, char *o, U n) {                                                                          \
        DEVC;                                                                                                \
        return str(dget(d, key), o, n);                                                                      \
    }
#define PAIR(name, key)                                                                                      \
    API R name(D d, U *a, U *b) {                                                                            \
        DEVC;                                                                                                \
        return pair(d, key, a, b);                                                                           \
    }

/* ---- library ---- */
API R nvmlInitWithFlags(U f) {
    (void)f;
    for (int i = 0; i < 64; i++)
        DEV[i].idx = i;
    logc("nvmlInitWithFlags", -1);
    delay("nvmlInitWithFlags");
    R r = err(get("fail.nvmlInit"));
    if (r)
        return r;
    if (!getenv("NVML_SHIM_SCENARIO") || access(getenv("NVML_SHIM_SCENARIO"), R_OK))
        return NODRV;
    if (!t0.tv_sec)
        clock_gettime(CLOCK_MONOTONIC, &t0);
    inited++;
    return OK;
}
API R nvmlInit_v2(void) {
    return nvmlInitWithFlags(0);
}
API R nvmlShutdown(void) {
    logc(__func__, -1);
    if (!inited)
        return UNINIT;
    inited--;
    return OK;
}
API const char *nvmlErrorString(R r) {
    for (size_t i = 0; i < sizeof ERR / sizeof *ERR; i++)
        if (ERR[i].v == r)
            return ERR[i].s;
    return "Unknown Error";
}
API R nvmlSystemGetDriverVersion(char *o, U n) {
    SYS;
    return str(get("system.driver_version"), o, n);
}

static R cuda(int *o) {
    const char *v = get("system.cuda_version");
    if (!v)
        return NOTSUP;
    *o = atoi(v);
    return OK;
}

API R nvmlSystemGetCudaDriverVersion_v2(int *o) {
    SYS;
    return cuda(o);
}

typedef struct {
    U environment, ccFeature, devToolsMode;
} CC;
API R nvmlSystemGetConfComputeState(CC *c) {
    SYS;
    const char *v = get("system.cc_feature");
    if (!v)
        return NOTSUP;
    c->environment = 0;
    c->ccFeature = (U)atoi(v);
    c->devToolsMode = 0;
    return OK;
}

/* ---- handles, identity ---- */
API R nvmlDeviceGetCount_v2(U *o) {
    SYS;
    *o = (U)count();
    return OK;
}
static R hidx(U i, D *o) {
    if ((int)i >= count())
        return INVAL;
    const char *v = get("fail.%u.handle", i);
    if (v)
        return err(v);
    *o = &DEV[i];
    return OK;
}
API R nvmlDeviceGetHandleByIndex_v2(U i, D *o) {
    SYS;
    return hidx(i, o);
}

TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")

API R nvmlDeviceGetGspFirmwareVersion(D d, char *o) {
    DEVC;
    return str(dget(d, "gsp_version"), o, 64);
}

API R nvmlDeviceGetVbiosVersion(D d, char *o, U n) {
    DEVC;
    return str(dget(d, "vbios"), o, n);
}

NUMBER(nvmlDeviceGetArchitecture, "arch")

API R nvmlDeviceGetCudaComputeCapability(D d, int *a, int *b) {
    DEVC;
    const char *v = dget(d, "cc");
    if (!v || sscanf(v, "%d.%d", a, b) != 2)
        return NOTSUP;
    return OK;
}

/* ---- PCIe ---- */
typedef struct {
    char busIdLegacy[16];
    U domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} Pci;
API R nvmlDeviceGetPciInfo_v3(D d, Pci *p) {
    DEVC;
    const char *v = dget(d, "bdf");
    U a, b, c, f;
    if (!v || sscanf(v, "%x:%x:%x.%x", &a, &b, &c, &f) != 4)
        return NOTSUP;
    memset(p, 0, sizeof *p);
    snprintf(p->busIdLegacy, 16, "%04X:%02X:%02X.%X", a & 0xffff, b & 0xff, c & 0x1f, f & 7);
    snprintf(p->busId, 32, "%08X:%02X:%02X.%X", a, b, c, f);
    p->domain = a;
    p->bus = b;
    p->device = c;
    UL x;
    if (!num(d, "pci_device_id", &x))
        p->pciDeviceId = (U)x;
    if (!num(d, "pci_subsystem_id", &x))
        p->pciSubSystemId = (U)x;
    return OK;
}
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_gen")
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_gen_max")
NUMBER(nvmlDeviceGetGpuMaxPcieLinkGeneration, "pcie_gen_gpu_max")
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")

/* p2p.<a>.<b>.<cap>, p2p.*.<cap>; cap = read write nvlink atomics pci; values 0..6 as NVML_P2P_STATUS_* */
API R nvmlDeviceGetP2PStatus(D d, D d2, U idx, U *o) {
    DEVC;
    static const char *C[] = {"read", "write", "nvlink", "atomics", "pci"};
    if (!valid(d2) || idx > 4)
        return INVAL;
    if (d == d2)
        return INVAL;
    const char *v = get("p2p.%d.%d.%s", d->idx, d2->idx, C[idx]);
    if (!v)
        v = get("p2p.*.%s", C[idx]);
    if (!v)
        return NOTSUP;
    *o = (U)atoi(v);
    return OK;
}
/* topo.<i> = row of NVML_TOPOLOGY_* numbers: 0 10 20 30 40 50 */
API R nvmlDeviceGetTopologyCommonAncestor(D d, D d2, U *o) {
    DEVC;
    if (!valid(d2))
        return INVAL;
    long x;
    if (!at(get("topo.%d", d->idx), d2->idx, &x))
        return NOTSUP;
    *o = (U)x;
    return OK;
}

API R nvmlDeviceGetNvLinkState(D d, U l, U *o) {
    DEVC;
    UL n;
    R r = num(d, "nvlinks", &n);
    *o = l < n;
    return r;
}

API R nvmlDeviceGetMemoryAffinity(D d, U n, unsigned long *set, U scope) {
    DEVC;
    (void)scope;
    UL x;
    R r = num(d, "numa_node", &x);
    if (r)
        return r;
    memset(set, 0, n * sizeof *set);
    if (x < 64 * n)
        set[x / 64] = 1UL << (x % 64);
    return OK;
}

/* ---- memory, processes ---- */
typedef struct {
    UL total, free, used;
} Mem;
typedef struct {
    U version;
    UL total, reserved, free, used;
} Mem2;
API R nvmlDeviceGetMemoryInfo_v2(D d, Mem2 *m) {
    DEVC;
    if (m->version != (sizeof(Mem2) | (2u << 24)))
        return VERMIS;
    R r = num(d, "mem_total", &m->total);
    if (r)
        return r;
    m->reserved = m->used = 0;
    num(d, "mem_reserved", &m->reserved);
    num(d, "mem_used", &m->used);
    m->free = m->total - m->reserved - m->used;
    return OK;
}

API R nvmlDeviceGetBAR1MemoryInfo(D d, Mem *m) {
    DEVC;
    R e = num(d, "bar1_total", &m->total);
    if (e)
        return e;
    m->used = 0;
    num(d, "bar1_used", &m->used);
    m->free = m->total - m->used;
    return OK;
}
typedef struct {
    U pid;
    UL used;
    U gi, ci;
} Proc;
static R procs(D d, const char *k, U *n, Proc *p) {
    const char *v = dget(d, k);
    U c = 0;
    Proc t;
    char buf[4096]; /* pid:bytes;pid:bytes */
    snprintf(buf, sizeof buf, "%s", v ? v : "");
    U cap = *n;
    for (char *s = strtok(buf, ";"); s; s = strtok(NULL, ";")) {
        memset(&t, 0, sizeof t);
        t.gi = t.ci = 0xffffffff;
        char *e;
        t.pid = (U)strtoul(s, &e, 10);
        t.used = *e == ':' ? strtoull(e + 1, 0, 0) : ~0ULL;
        if (p && c < cap)
            p[c] = t;
        c++;
    }
    *n = c;
    return (c && (!p || c > cap)) ? SMALL : OK;
}
API R nvmlDeviceGetComputeRunningProcesses_v3(D d, U *n, Proc *p) {
    DEVC;
    return procs(d, "procs", n, p);
}
API R nvmlDeviceGetGraphicsRunningProcesses_v3(D d, U *n, Proc *p) {
    DEVC;
    return procs(d, "gprocs", n, p);
}

/* ---- modes ---- */
PAIR(nvmlDeviceGetMigMode, "mig")

PAIR(nvmlDeviceGetEccMode, "ecc")
API R nvmlDeviceGetTotalEccErrors(D d, U t, U c, UL *o) {
    DEVC;
    char k[40];
    snprintf(k, 40, "ecc_%s_%s", t ? "uncorrected" : "corrected", c ? "aggregate" : "volatile");
    return num(d, k, o);
}
API R nvmlDeviceGetRemappedRows(D d, U *a, U *b, U *p, U *f) {
    DEVC;
    const char *v = dget(d, "remapped");
    if (!v || sscanf(v, "%u,%u,%u,%u", a, b, p, f) != 4)
        return NOTSUP;
    return OK;
}
NUMBER(nvmlDeviceGetPersistenceMode, "persistence")
NUMBER(nvmlDeviceGetComputeMode, "compute_mode")
NUMBER(nvmlDeviceGetVirtualizationMode, "virt_mode")

NUMBER(nvmlDeviceGetPerformanceState, "pstate")
API R nvmlDeviceGetAddressingMode(D d, U *v) {
    DEVC;
    return unum(d, "addressing_mode", v + 1);
}

typedef struct {
    unsigned char clusterUuid[16];
    R status;
    U cliqueId;
    unsigned char state;
} Fabric;
API R nvmlDeviceGetGpuFabricInfo(D d, Fabric *f) {
    DEVC;
    UL x;
    R r = num(d, "fabric", &x);
    if (r)
        return r;
    memset(f, 0, sizeof *f);
    f->state = (unsigned char)x;
    return OK;
}

/* ---- power, thermal, clocks ---- */
NUMBER(nvmlDeviceGetPowerUsage, "power_mw")
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "power_limit_mw")
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, "power_default_mw")
API R nvmlDeviceGetPowerManagementLimitConstraints(D d, U *a, U *b) {
    DEVC;
    R r = unum(d, "power_min_mw", a);
    return r ? r : unum(d, "power_max_mw", b);
}

typedef struct {
    U version;
    U sensor;
    int temp;
} Temp;
API R nvmlDeviceGetTemperatureV(D d, Temp *t) {
    DEVC;
    if (t->version != (sizeof(Temp) | (1u << 24)))
        return VERMIS;
    return unum(d, "temp", (U *)&t->temp);
}

API R nvmlDeviceGetClockInfo(D d, U kind, U *o) {
    DEVC;
    return kind == 1 ? unum(d, "clock_sm", o) : NOTSUP;
}
API R nvmlDeviceGetMaxClockInfo(D d, U kind, U *o) {
    DEVC;
    return kind == 1 ? unum(d, "clock_sm_max", o) : NOTSUP;
}
API R nvmlDeviceGetCurrentClocksEventReasons(D d, UL *o) {
    DEVC;
    return num(d, "clocks_event_reasons", o);
}

typedef struct {
    U gpu, mem;
} Util;
API R nvmlDeviceGetUtilizationRates(D d, Util *u) {
    DEVC;
    R r = unum(d, "util_gpu", &u->gpu);
    return r ? r : unum(d, "util_mem", &u->mem);
}
typedef struct {
    U fieldId, scopeId;
    long long timestamp, latencyUsec;
    U valueType;
    R nvmlReturn;
    union {
        double d;
        UL ull;
    } value;
} FV;
API R nvmlDeviceGetFieldValues(D d, int n, FV *v) {
    DEVC;
    for (int i = 0; i < n; i++) {
        char k[32];
        snprintf(k, 32, "field.%u", v[i].fieldId);
        UL x;
        v[i].nvmlReturn = num(d, k, &x);
        v[i].valueType = 3;
        if (!v[i].nvmlReturn)
            v[i].value.ull = x;
    }
    return OK;
}

/* ---- events:  event.<n> = after_ms gpu type data   (type: xid|ecc1|ecc2|number) ---- */
struct set {
    UL mask[64];
    int next;
};
typedef struct {
    D device;
    UL type, data;
    U gi, ci;
} Ev;
API R nvmlEventSetCreate(struct set **o) {
    SYS;
    *o = calloc(1, sizeof **o);
    return OK;
}
API R nvmlEventSetFree(struct set *s) {
    SYS;
    free(s);
    return OK;
}
API R nvmlDeviceGetSupportedEventTypes(D d, UL *o) {
    DEVC;
    return num(d, "event_types", o);
}
API R nvmlDeviceRegisterEvents(D d, UL m, struct set *s) {
    DEVC;
    UL sup = 0;
    num(d, "event_types", &sup);
    if (m & ~sup)
        return NOTSUP;
    s->mask[d->idx] |= m;
    return OK;
}
static R evwait(struct set *s, Ev *e, U ms) {
    struct timespec a, n;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &n);
        long up = (n.tv_sec - t0.tv_sec) * 1000 + (n.tv_nsec - t0.tv_nsec) / 1000000;
        const char *v;
        while ((v = get("event.%d", s->next))) {
            long after;
            int g;
            char ty[32];
            long long dt;
            if (sscanf(v, "%ld %d %31s %lli", &after, &g, ty, &dt) != 4) {
                s->next++;
                continue;
            }
            if (up < after)
                break;
            s->next++;
            UL t = !strcmp(ty, "xid")    ? 8
                   : !strcmp(ty, "ecc1") ? 1
                   : !strcmp(ty, "ecc2") ? 2
                                         : strtoull(ty, 0, 0);
            if (g < 0 || g >= 64 || !(s->mask[g] & t))
                continue;
            e->device = &DEV[g];
            e->type = t;
            e->data = (UL)dt;
            e->gi = e->ci = 0xffffffff;
            return OK;
        }
        if ((n.tv_sec - a.tv_sec) * 1000 + (n.tv_nsec - a.tv_nsec) / 1000000 >= (long)ms)
            return TIMEOUT;
        usleep(5000);
    }
}
API R nvmlEventSetWait_v2(struct set *s, Ev *e, U ms) {
    SYS;
    return evwait(s, e, ms);
}
