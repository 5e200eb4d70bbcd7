"""Files of a clinic's formats, by other writers or by hand from the published descriptions."""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from ecgopt.data.signals import LEADS

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

MUSE = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE RestingECG SYSTEM "restecg.dtd">
<RestingECG>
 <PatientDemographics><PatientID>4711</PatientID><PatientAge>63</PatientAge>
  <AgeUnits>YEARS</AgeUnits><DateofBirth>02-01-1960</DateofBirth><Gender>FEMALE</Gender>
  <PatientLastName>M\u00fcller</PatientLastName><PatientFirstName>Eva</PatientFirstName>
 </PatientDemographics>
 <TestDemographics><AcquisitionTime>09:30:15</AcquisitionTime>
  <AcquisitionDate>03-01-2023</AcquisitionDate></TestDemographics>
 <Diagnosis><Modality>RESTING</Modality>
  <DiagnosisStatement><StmtText>Sinus rhythm</StmtText></DiagnosisStatement>
  <DiagnosisStatement><StmtText>Left bundle branch block</StmtText></DiagnosisStatement>
 </Diagnosis>
 <Waveform><WaveformType>Median</WaveformType><SampleBase>500</SampleBase>
  <SampleExponent>0</SampleExponent>MEDIAN</Waveform>
 <Waveform><WaveformType>Rhythm</WaveformType><NumberofLeads>8</NumberofLeads>
  <SampleType>CONTINUOUS_SAMPLES</SampleType><SampleBase>500</SampleBase>
  <SampleExponent>0</SampleExponent>RHYTHM</Waveform>
</RestingECG>
"""

_MUSE_LEAD = """<LeadData><LeadByteCountTotal>{bytes}</LeadByteCountTotal>
 <LeadSampleCountTotal>{count}</LeadSampleCountTotal>
 <LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit>
 <LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{lead}</LeadID>
 <LeadSampleSize>2</LeadSampleSize><WaveFormData>
{data}</WaveFormData></LeadData>"""


def encoded(samples: np.ndarray) -> str:
    """Return 16-bit samples as Base64 in lines, as exports have them."""
    return base64.encodebytes(samples.astype("<i2").tobytes()).decode()


def write_muse(path: Path, samples: np.ndarray, text: str = MUSE) -> Path:
    """Write a MUSE export with a rhythm of eight leads (time, lead) and a median beat."""

    def leads(values: np.ndarray) -> str:
        return "".join(
            _MUSE_LEAD.format(bytes=2 * len(values), count=len(values), lead=lead,
                              data=encoded(values[:, row]))
            for row, lead in enumerate(EIGHT)
        )  # fmt: skip

    text = text.replace("MEDIAN", leads(samples[:300] * 0)).replace("RHYTHM", leads(samples))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="latin-1")
    return path


AECG = """<?xml version="1.0" encoding="utf-8"?>
<AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <effectiveTime><low value="20081223194446.000"/></effectiveTime>
 <componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>
  <id root="1.2.3" extension="20044"/><subjectDemographicPerson><name>Jane Roe</name>
  <administrativeGenderCode code="F"/><birthTime value="19760601"/>
 </subjectDemographicPerson></trialSubject></subject></subjectAssignment></componentOf>
 </timepointEvent></componentOf>
 <component><series><code code="RHYTHM"/><component><sequenceSet>
  <component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">
   <head value="20081223194446.000"/><increment value="2" unit="ms"/></value></sequence></component>
  RHYTHM
 </sequenceSet></component>
 <derivation><derivedSeries><code code="REPRESENTATIVE_BEAT"/><component><sequenceSet>
  BEAT
 </sequenceSet></component></derivedSeries></derivation></series></component>
</AnnotatedECG>
"""

_AECG_LEAD = """<component><sequence><code code="MDC_ECG_LEAD_{lead}"/>
 <value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/><scale value="5.00" unit="uV"/>
 <digits>{digits}</digits></value></sequence></component>"""


def write_aecg(path: Path, samples: np.ndarray, text: str = AECG) -> Path:
    """Write an annotated ECG with twelve leads (time, lead) and a representative beat."""

    def leads(values: np.ndarray) -> str:
        return "\n".join(
            _AECG_LEAD.format(lead=lead.upper(), digits=" ".join(map(str, values[:, row].tolist())))
            for row, lead in enumerate(LEADS)
        )

    text = text.replace("RHYTHM\n", leads(samples)).replace("BEAT\n", leads(samples[:100]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


SIERRA = """<?xml version="1.0" encoding="UTF-8"?>
<restingecgdata xmlns="http://www3.medical.philips.com">
 <documentinfo><documenttype>PhilipsECG</documenttype><documentversion>1.04</documentversion>
 </documentinfo>
 <dataacquisition date="2020-03-01" time="10:15:30"><signalcharacteristics>
  <samplingrate>500</samplingrate><resolution>5</resolution>
  <acquisitiontype>STD-12</acquisitiontype>
  <numberchannelsallocated>12</numberchannelsallocated></signalcharacteristics></dataacquisition>
 <patient><generalpatientdata><patientid>P9</patientid><name><lastname>Doe</lastname>
  <firstname>John</firstname></name><age><dateofbirth>1920-05-05</dateofbirth></age>
  <sex>Male</sex></generalpatientdata></patient>
 <interpretations><interpretation><statement><leftstatement>Sinus rhythm</leftstatement>
 </statement></interpretation></interpretations>
 <waveforms><parsedwaveforms dataencoding="Base64" compression="XLI" numberofleads="12"
  leadlabels="I II III aVR aVL aVF V1 V2 V3 V4 V5 V6" durationperchannel="LENGTH">
 DATA</parsedwaveforms></waveforms>
</restingecgdata>
"""


def xli(leads: list[np.ndarray]) -> bytes:
    """Return leads as Philips compresses them: second differences, and LZW of 10 bits."""
    out = b""
    for lead in leads:
        values = lead.astype(int).tolist()
        start, last = 7, 7
        stored = values[:2]
        # z = 2 y - x - last, and the stored value decides the `last` of the next sample.
        for x, y, z in zip(values, values[1:], values[2:], strict=False):
            if len(stored) == 2 and 2 * y - x - start != z:
                raise ValueError("the third sample must follow from the first two")
            last = 2 * y - x - z
            if len(stored) > 2:
                stored[-1] = last + 64
            stored.append(0)
        words = np.array(stored, dtype=np.int64).astype("<i2").view(np.uint16)
        data = bytes((words >> 8).astype(np.uint8)) + bytes((words & 255).astype(np.uint8))
        packed = _lzw(data)
        out += len(packed).to_bytes(4, "little") + b"\0\0" + start.to_bytes(2, "little") + packed
    return out


def _lzw(data: bytes) -> bytes:
    known = {bytes([value]): value for value in range(256)}
    codes, current = [], b""
    for value in data:
        longer = current + bytes([value])
        if longer in known:
            current = longer
            continue
        codes.append(known[current])
        if len(known) <= 1022:
            known[longer] = len(known)
        current = bytes([value])
    codes.append(known[current])
    bits = "".join(f"{code:010b}" for code in [*codes, 1023])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def sierra_leads(n_samples: int = 5500) -> np.ndarray:
    """Return leads (lead, time) as the format stores them, III to aVF as small differences."""
    rng = np.random.default_rng(5)
    leads = np.cumsum(rng.integers(-6, 7, size=(12, n_samples)), axis=1)
    leads[2:6] = rng.integers(-1, 2, size=(4, n_samples))
    leads[:, 2] = 2 * leads[:, 1] - leads[:, 0] - 7
    return leads


def write_sierra(path: Path, leads: np.ndarray, text: str = SIERRA) -> Path:
    """Write a Philips file from leads (lead, time) as the format stores them."""
    data = base64.encodebytes(xli(list(leads))).decode()
    text = text.replace("LENGTH", str(2 * leads.shape[1])).replace("DATA", data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_dicom(path: Path, samples: np.ndarray, *, sensitivity: float = 2.5) -> Path:
    """Write a 12-lead ECG object of samples (time, lead) with a short second group (pydicom)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def coded(value: str, scheme: str, meaning: str) -> Dataset:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
        return item

    def group(values: np.ndarray) -> Dataset:
        item = Dataset()
        item.WaveformOriginality = "ORIGINAL"
        item.NumberOfWaveformChannels = len(numbers)
        item.NumberOfWaveformSamples = len(values)
        item.SamplingFrequency = "500"
        item.WaveformBitsAllocated = 16
        item.WaveformSampleInterpretation = "SS"
        item.WaveformData = values.astype("<i2").tobytes()
        channels = []
        for lead, number in numbers.items():
            channel = Dataset()
            channel.ChannelSourceSequence = [
                coded(f"5.6.3-9-{number}", "SCPECG", f"Lead {lead}" + " (Einthoven)" * (lead < "J"))
            ]
            channel.ChannelSensitivity = str(sensitivity)
            channel.ChannelSensitivityUnitsSequence = [coded("uV", "UCUM", "microvolt")]
            channel.ChannelSensitivityCorrectionFactor = "1"
            channel.ChannelBaseline = "0"
            channel.WaveformBitsStored = 16
            channels.append(channel)
        item.ChannelDefinitionSequence = channels
        return item

    numbers = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {
        f"V{i}": i + 2 for i in range(1, 7)
    }
    data: Any = Dataset()
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.1"
    data.SOPInstanceUID = generate_uid()
    data.Modality = "ECG"
    data.PatientID, data.PatientName, data.PatientSex = "D1", "Roe^Jane", "F"
    data.PatientBirthDate, data.AcquisitionDateTime = "19800615", "20220614101500"
    data.WaveformSequence = [group(samples[:600]), group(samples)]
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write_edf(path: Path, samples: np.ndarray, *, bits: int = 16) -> Path:
    """Write an EDF+ (or BDF+) file of samples (time, lead) with a breathing signal (edfio)."""
    import datetime

    import edfio

    kind, file = (edfio.EdfSignal, edfio.Edf) if bits == 16 else (edfio.BdfSignal, edfio.Bdf)
    reach = (-32768, 32767) if bits == 16 else (-8388608, 8388607)
    signals: list[Any] = [
        kind.from_digital(
            samples[:, row].astype(np.int16 if bits == 16 else np.int32), 500, label=f"ECG {lead}",
            physical_dimension="mV", physical_range=(-8.192, 8.191), digital_range=reach,
        )
        for row, lead in enumerate(LEADS)
    ]  # fmt: skip
    signals.append(kind(np.sin(np.arange(len(samples) // 20)), 25, label="Resp nasal",
                        physical_dimension="Ohm"))  # fmt: skip
    patient = edfio.Patient(
        code="E7", sex="M", birthdate=datetime.date(1950, 1, 1), name="Max_Muster"
    )
    recording = edfio.Recording(startdate=datetime.date(2020, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    file(signals, patient=patient, recording=recording).write(path)
    return path
