/* The nearest Python frame outside the library: its code object and instruction.
   Reading the interpreter's frame directly costs a few nanoseconds; making a frame object for
   each operation would cost more than the operation.  Invariant: only reads, under the GIL. */
#ifndef AUTODIFF_FRAME_H
#define AUTODIFF_FRAME_H

#include <Python.h>

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030E0000
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#define AUTODIFF_UNDEF_CORE
#endif
#include "internal/pycore_frame.h"
#ifdef AUTODIFF_UNDEF_CORE
#undef Py_BUILD_CORE
#endif

typedef struct _PyInterpreterFrame ad_frame;

static inline ad_frame *ad_first_frame(void) {
    PyThreadState *state = PyThreadState_Get();
#if PY_VERSION_HEX >= 0x030D0000
    return state->current_frame;
#else
    return state->cframe->current_frame;
#endif
}

/* The frame's code, borrowed; NULL for a frame that belongs to C or that the interpreter pushed
   for itself (in 3.13 under every `__init__`), which Python does not show either. */
static inline PyObject *ad_code(ad_frame *f) {
#if PY_VERSION_HEX >= 0x030C0000
    if (f->owner == FRAME_OWNED_BY_CSTACK) return NULL;
#endif
    if (_PyFrame_IsIncomplete(f)) return NULL;
#if PY_VERSION_HEX >= 0x030D0000
    return PyCode_Check(f->f_executable) ? f->f_executable : NULL;
#else
    return (PyObject *)f->f_code;
#endif
}

static inline int ad_instruction(ad_frame *f) {
    return _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT);
}

static inline ad_frame *ad_outer(ad_frame *f) { return f->previous; }

#else                       /* other versions: no line is recorded */
typedef void ad_frame;
static inline ad_frame *ad_first_frame(void) { return NULL; }
static inline PyObject *ad_code(ad_frame *f) { return NULL; }
static inline int ad_instruction(ad_frame *f) { return 0; }
static inline ad_frame *ad_outer(ad_frame *f) { return NULL; }
#endif

/* A small table from code object to "is it ours", so that the question is asked once. */
#define AD_CODES 4096
static struct { PyObject *code; int internal; } ad_codes[AD_CODES];

static inline int ad_lookup(PyObject *code) {        /* 0, 1, or -1: not known yet */
    size_t k = ((size_t)code >> 5) & (AD_CODES - 1);
    return ad_codes[k].code == code ? ad_codes[k].internal : -1;
}

static inline void ad_remember(PyObject *code, int internal) {
    size_t k = ((size_t)code >> 5) & (AD_CODES - 1);
    Py_INCREF(code);                        /* a freed address must not be taken for another code */
    Py_XDECREF(ad_codes[k].code);
    ad_codes[k].code = code;
    ad_codes[k].internal = internal;
}
#endif
